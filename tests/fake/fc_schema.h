/* tests/fake/fc_schema.h - Firecracker's API as far as banger could use it: every call, when it is
 * allowed, and every field that it knows, with the release that brought it. Written anew from the
 * published description; tests/fake/check_fc_schema.py compares the two. */
#ifndef TESTS_FAKE_FC_SCHEMA_H
#define TESTS_FAKE_FC_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#define V(major, minor) ((major)*1000 + (minor))
#define FIRST		0 /* older than what banger speaks */

enum fc_type { FC_STRING, FC_BOOLEAN, FC_INTEGER, FC_OBJECT };
enum fc_when { FC_PRE = 1, FC_POST = 2, FC_ANY = 3 };

struct fc_field {
	const char *name;
	enum fc_type type;
	bool required;
	int since;
	const char *choices; /* "|Unsafe|Writeback|", NULL: any */
	double min, max;     /* of an integer; 0, 0: any that is not negative */
};
struct fc_schema {
	const char *method, *path; /* "{}" stands for an id */
	int since;
	enum fc_when when;
	struct fc_field fields[12]; /* ends with name NULL; a GET has none */
};

#define REQUIRED true, FIRST, NULL, 0, 0
#define OPTIONAL false, FIRST, NULL, 0, 0

static const struct fc_schema fc_schema[] = {
	{ "GET", "/", FIRST, FC_ANY, { { 0 } } },
	{ "GET", "/version", FIRST, FC_ANY, { { 0 } } },
	{ "GET", "/vm/config", FIRST, FC_ANY, { { 0 } } },
	{ "GET", "/machine-config", FIRST, FC_ANY, { { 0 } } },
	{ "PUT",
	  "/machine-config",
	  FIRST,
	  FC_PRE,
	  { { "vcpu_count", FC_INTEGER, true, FIRST, NULL, 1, 32 },
	    { "mem_size_mib", FC_INTEGER, true, FIRST, NULL, 1, 4294967295 },
	    { "smt", FC_BOOLEAN, OPTIONAL },
	    { "track_dirty_pages", FC_BOOLEAN, OPTIONAL },
	    { "cpu_template", FC_STRING, OPTIONAL },
	    { "huge_pages", FC_STRING, false, V(1, 7), "|None|Transparent|2M|", 0, 0 } } },
	{ "PUT",
	  "/boot-source",
	  FIRST,
	  FC_PRE,
	  { { "kernel_image_path", FC_STRING, REQUIRED },
	    { "initrd_path", FC_STRING, OPTIONAL },
	    { "boot_args", FC_STRING, OPTIONAL } } },
	{ "PUT",
	  "/drives/{}",
	  FIRST,
	  FC_PRE,
	  { { "drive_id", FC_STRING, REQUIRED },
	    { "is_root_device", FC_BOOLEAN, REQUIRED },
	    { "path_on_host", FC_STRING, OPTIONAL },
	    { "is_read_only", FC_BOOLEAN, OPTIONAL },
	    { "partuuid", FC_STRING, OPTIONAL },
	    { "cache_type", FC_STRING, false, FIRST, "|Unsafe|Writeback|", 0, 0 },
	    { "io_engine", FC_STRING, false, FIRST, "|Sync|Async|", 0, 0 },
	    { "rate_limiter", FC_OBJECT, OPTIONAL },
	    { "socket", FC_STRING, false, V(1, 6), NULL, 0, 0 } } },
	{ "PATCH",
	  "/drives/{}",
	  FIRST,
	  FC_POST,
	  { { "drive_id", FC_STRING, REQUIRED },
	    { "path_on_host", FC_STRING, OPTIONAL },
	    { "rate_limiter", FC_OBJECT, OPTIONAL } } },
	{ "PUT",
	  "/network-interfaces/{}",
	  FIRST,
	  FC_PRE,
	  { { "iface_id", FC_STRING, REQUIRED },
	    { "host_dev_name", FC_STRING, REQUIRED },
	    { "guest_mac", FC_STRING, OPTIONAL },
	    { "mtu", FC_INTEGER, false, V(1, 16), NULL, 68, 65535 },
	    { "rx_rate_limiter", FC_OBJECT, OPTIONAL },
	    { "tx_rate_limiter", FC_OBJECT, OPTIONAL } } },
	{ "PATCH",
	  "/network-interfaces/{}",
	  FIRST,
	  FC_POST,
	  { { "iface_id", FC_STRING, REQUIRED },
	    { "rx_rate_limiter", FC_OBJECT, OPTIONAL },
	    { "tx_rate_limiter", FC_OBJECT, OPTIONAL } } },
	{ "PUT",
	  "/vsock",
	  FIRST,
	  FC_PRE,
	  { { "guest_cid", FC_INTEGER, true, FIRST, NULL, 3, 4294967295 },
	    { "uds_path", FC_STRING, REQUIRED },
	    { "vsock_id", FC_STRING, OPTIONAL } } },
	{ "GET", "/balloon", FIRST, FC_ANY, { { 0 } } },
	{ "PUT",
	  "/balloon",
	  FIRST,
	  FC_PRE,
	  { { "amount_mib", FC_INTEGER, REQUIRED },
	    { "deflate_on_oom", FC_BOOLEAN, REQUIRED },
	    { "stats_polling_interval_s", FC_INTEGER, OPTIONAL },
	    { "free_page_hinting", FC_BOOLEAN, false, V(1, 14), NULL, 0, 0 },
	    { "free_page_reporting", FC_BOOLEAN, false, V(1, 14), NULL, 0, 0 } } },
	{ "PATCH", "/balloon", FIRST, FC_POST, { { "amount_mib", FC_INTEGER, REQUIRED } } },
	{ "PUT", "/entropy", FIRST, FC_PRE, { { "rate_limiter", FC_OBJECT, OPTIONAL } } },
	{ "PUT",
	  "/serial",
	  V(1, 14),
	  FC_PRE,
	  { { "serial_out_path", FC_STRING, OPTIONAL },
	    { "rate_limiter", FC_OBJECT, false, V(1, 16), NULL, 0, 0 } } },
	{ "GET", "/hotplug/memory", V(1, 14), FC_POST, { { 0 } } },
	{ "PUT",
	  "/hotplug/memory",
	  V(1, 14),
	  FC_PRE,
	  { { "total_size_mib", FC_INTEGER, OPTIONAL },
	    { "block_size_mib", FC_INTEGER, false, FIRST, NULL, 2, 4294967295 },
	    { "slot_size_mib", FC_INTEGER, false, FIRST, NULL, 128, 4294967295 } } },
	{ "PATCH",
	  "/hotplug/memory",
	  V(1, 14),
	  FC_POST,
	  { { "requested_size_mib", FC_INTEGER, false, FIRST, NULL, 0, 4294967295 } } },
	{ "PUT",
	  "/actions",
	  FIRST,
	  FC_ANY,
	  { { "action_type", FC_STRING, true, FIRST, "|InstanceStart|FlushMetrics|SendCtrlAltDel|",
	      0, 0 } } },
	{ "PATCH",
	  "/vm",
	  FIRST,
	  FC_POST,
	  { { "state", FC_STRING, true, FIRST, "|Paused|Resumed|", 0, 0 } } },
};

#endif
