/* Theory of operation: that /dev/kvm opens says little. A paravirtual one, as nested clouds have
 * it, runs a three-instruction guest and emulates a kernel so slowly that it never boots. So a
 * guest of two instructions counts down from 100,000, which takes hardware well under a millisecond
 * and an emulator over a hundred. It runs in a child, as a KVM_RUN that never returns can only be
 * killed. The verdict is kept until the next boot of the host or the next kernel; refusals that
 * cost nothing to find out (no device, no permission) are asked anew each time. */
#include "driver/driver.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#define GUEST_ADDRESS  0x1000
#define GUEST_LOOPS    100000
#define FAST_ENOUGH_US 50000
#define DEADLINE_MS    UINT64_C(2000)
#define CACHE_NAME     "accel.json"
#define CACHE_MAX      4096
#define DEVICE	       "/dev/kvm"

enum kvm_step { KVM_FINE, KVM_OPEN, KVM_MEMORY, KVM_VCPU, KVM_RUNS, KVM_EXITS };

struct kvm_result {
	enum kvm_step step; /* where it ended */
	int code;	    /* errno, or the exit reason for KVM_EXITS */
	uint64_t us;	    /* KVM_FINE: the loop's time */
};

/* --- the child: async-signal-safe calls only --- */

/* mov ecx, GUEST_LOOPS; again: dec ecx; jnz again; hlt -- in real mode */
static const unsigned char guest_code[] = {
	0x66,
	0xb9,
	GUEST_LOOPS & 0xff,
	GUEST_LOOPS >> 8 & 0xff,
	GUEST_LOOPS >> 16,
	0x00,
	0x66,
	0x49,
	0x75,
	0xfc,
	0xf4,
};

static struct kvm_result failed_at(enum kvm_step step)
{
	return (struct kvm_result){ .step = step, .code = errno };
}

static int give_memory(int vm)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -1;
	memcpy(page, guest_code, sizeof(guest_code));
	struct kvm_userspace_memory_region region = { .guest_phys_addr = GUEST_ADDRESS,
						      .memory_size = 4096,
						      .userspace_addr = (uintptr_t)page };
	/* Processors without "unrestricted guest" need a place for their helper structures. */
	uint64_t identity_map = 0xfffbc000;
	ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int point_vcpu(int vcpu)
{
	struct kvm_sregs sregs;
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	struct kvm_regs regs = { .rip = GUEST_ADDRESS, .rflags = 2 };
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 ? -1 : ioctl(vcpu, KVM_SET_REGS, &regs);
}

static uint64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct kvm_result time_guest(int kvm)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0 || give_memory(vm) < 0)
		return failed_at(KVM_MEMORY);
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vcpu < 0 || run_size < (int)sizeof(struct kvm_run))
		return failed_at(KVM_VCPU);
	struct kvm_run *run =
		mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED || point_vcpu(vcpu) < 0)
		return failed_at(KVM_VCPU);
	uint64_t start = now_us();
	int done;
	do
		done = ioctl(vcpu, KVM_RUN, 0);
	while (done < 0 && errno == EINTR);
	uint64_t us = now_us() - start;
	if (done < 0)
		return failed_at(KVM_RUNS);
	if (run->exit_reason != KVM_EXIT_HLT)
		return (struct kvm_result){ .step = KVM_EXITS, .code = (int)run->exit_reason };
	return (struct kvm_result){ .step = KVM_FINE, .us = us };
}

/* --- the parent --- */

static bool read_result(int fd, struct kvm_result *ret)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	uint64_t deadline = now_us() + DEADLINE_MS * 1000;
	for (;;) {
		uint64_t now = now_us();
		int got = poll(&wait, 1, now < deadline ? (int)((deadline - now) / 1000) : 0);
		if (got > 0)
			return read(fd, ret, sizeof(*ret)) == sizeof(*ret);
		if (got == 0 || errno != EINTR)
			return false;
	}
}

/* 0: *ret is the child's word; 1: it did not answer in time or died. */
static int try_guest(int kvm, struct kvm_result *ret, struct error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, "cannot try '" DEVICE "'");
	auto_close int in = ends[0], out = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return error_sys(err, "cannot try '" DEVICE "'");
	if (pid == 0) {
		struct kvm_result result = time_guest(kvm);
		_exit(write(out, &result, sizeof(result)) == sizeof(result) ? 0 : 1);
	}
	close(take_fd(&out));
	bool answered = read_result(in, ret);
	kill(pid, SIGKILL); /* our child, not yet reaped: the number is its */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return !answered;
}

static bool judge(const struct kvm_result *result, struct buf *detail)
{
	static const char *const steps[] = { [KVM_OPEN] = "open",
					     [KVM_MEMORY] = "make a VM",
					     [KVM_VCPU] = "make a CPU",
					     [KVM_RUNS] = "run a guest" };
	if (result->step == KVM_FINE) {
		bool fast = result->us < FAST_ENOUGH_US;
		buf_addf(detail, "a guest's loop of %d took %" PRIu64 ".%" PRIu64 " ms%s",
			 GUEST_LOOPS, result->us / 1000, result->us % 1000 / 100,
			 fast ? "" : ": " DEVICE " emulates instead of using the processor");
		return fast;
	}
	if (result->step == KVM_EXITS)
		buf_addf(detail, DEVICE " ended a test guest with reason %d", result->code);
	else
		buf_addf(detail, DEVICE " cannot %s: %s", steps[result->step],
			 strerror(result->code));
	return false;
}

static int measure(int kvm, enum accel *ret, struct buf *detail, struct error *err)
{
	struct kvm_result result = { 0 };
	int failed = try_guest(kvm, &result, err);
	if (failed < 0)
		return -1;
	bool works = false;
	if (failed)
		buf_addf(detail,
			 "a guest's loop of %d did not end within %" PRIu64 " ms: " DEVICE
			 " emulates, or hangs",
			 GUEST_LOOPS, DEADLINE_MS);
	else
		works = judge(&result, detail);
	*ret = works ? ACCEL_KVM : ACCEL_TCG;
	return 0;
}

/* --- the cache --- */

/* "<boot id> <kernel release>" */
static int cache_key(struct buf *ret, struct error *err)
{
	struct utsname host;
	if (fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, ret, err) < 0)
		return -1;
	if (uname(&host) < 0)
		return error_sys(err, "cannot tell the kernel's release");
	ret->data[strcspn(ret->data, "\n")] = '\0';
	ret->len = strlen(ret->data);
	buf_addf(ret, " %s", host.release);
	return 0;
}

static bool cache_read(const char *path, const char *key, enum accel *ret, struct buf *detail)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT;
	if (fs_read(AT_FDCWD, path, CACHE_MAX, &text, &err) < 0)
		return false;
	auto_json cJSON *cache = json_parse(text.data, text.len, &err);
	const char *accel = json_str(cache, "accel", "");
	if (!cache || strcmp(json_str(cache, "key", ""), key) != 0 ||
	    (strcmp(accel, "kvm") != 0 && strcmp(accel, "tcg") != 0))
		return false;
	*ret = strcmp(accel, "kvm") ? ACCEL_TCG : ACCEL_KVM;
	buf_add(detail, json_str(cache, "detail", "tried before"));
	return true;
}

/* Only a cache: that it cannot be written is nobody's problem. */
static void cache_write(const char *path, const char *key, enum accel accel, const char *detail)
{
	struct error ignored;
	auto_json cJSON *cache = cJSON_CreateObject();
	json_add_str(cache, "key", key);
	json_add_str(cache, "accel", accel == ACCEL_KVM ? "kvm" : "tcg");
	json_add_str(cache, "detail", detail);
	auto_free char *text = json_print(cache);
	fs_write(AT_FDCWD, path, text, strlen(text), 0600, &ignored);
}

/* 1: decided, 0: not set, -1: nonsense. */
static int from_environment(enum accel *ret, struct buf *detail, struct error *err)
{
	const char *wish = secure_getenv("BANGER_ACCEL");
	if (!wish || !*wish)
		return 0;
	if (strcmp(wish, "tcg") != 0 && strcmp(wish, "kvm") != 0)
		return error_set(err, ERROR_INVALID, "BANGER_ACCEL is '%s', not 'tcg' or 'kvm'",
				 wish);
	*ret = strcmp(wish, "kvm") ? ACCEL_TCG : ACCEL_KVM;
	buf_addf(detail, "%s: as BANGER_ACCEL says", wish);
	return 1;
}

int accel_choose(const char *cache_dir, enum accel *ret, struct buf *ret_detail, struct error *err)
{
	int given = from_environment(ret, ret_detail, err);
	if (given)
		return given < 0 ? -1 : 0;
	auto_close int kvm = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		*ret = ACCEL_TCG;
		buf_addf(ret_detail, "tcg: cannot open '" DEVICE "': %s%s", strerror(errno),
			 errno == EACCES ? " (add yourself to its group)" : "");
		return 0;
	}
	auto_buf struct buf key = BUF_INIT, reason = BUF_INIT;
	if (cache_key(&key, err) < 0)
		return -1;
	auto_free char *path = xasprintf("%s/" CACHE_NAME, cache_dir);
	if (!cache_read(path, key.data, ret, &reason)) {
		if (measure(kvm, ret, &reason, err) < 0)
			return -1;
		cache_write(path, key.data, *ret, reason.data);
	}
	buf_addf(ret_detail, "%s: %s", *ret == ACCEL_KVM ? "kvm" : "tcg", reason.data);
	return 0;
}
