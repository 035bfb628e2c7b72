/* Theory of operation: HTTP over a unix socket by libcurl, one connection a call: on a reused one
 * libcurl would send a call again whose answer did not come, and what it did the first time is not
 * known. Firecracker serves one call after the other and an answer means it is done, so there is
 * nothing to poll. Bodies are small both ways and bounded; an answer without its end is no answer,
 * whatever its first line says.
 *
 * libcurl and what it brings along is loaded at the first call: it would cost a daemon whose VMs
 * are all QEMU's as much memory again as it has (6 MiB). */
#include "driver/fc.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "base/mem.h"
#include "sys/library.h"
#include "sys/unix.h"

#include <curl/curl.h>
#include <pthread.h>
#include <string.h>

#define CALL_MS	    5000
#define ANSWER_MAX  (256u << 10)
#define QUOTE_BYTES 300

struct fc_api {
	CURL *curl;
	struct curl_slist *headers;
	int vm_dirfd; /* borrowed */
	struct buf answer;
	bool headers_end, too_long;
};

uint64_t fc_call_ms(void)
{
#ifdef BANGER_FAILPOINTS
	return env_number("BANGER_FC_CALL_MS", CALL_MS);
#else
	return CALL_MS;
#endif
}

/* --- the library --- */

static struct {
	bool ready;
	LIBRARY_FUNCTION(curl_global_init);
	LIBRARY_FUNCTION(curl_easy_init);
	LIBRARY_FUNCTION(curl_easy_setopt);
	LIBRARY_FUNCTION(curl_easy_perform);
	LIBRARY_FUNCTION(curl_easy_getinfo);
	LIBRARY_FUNCTION(curl_easy_strerror);
	LIBRARY_FUNCTION(curl_easy_cleanup);
	LIBRARY_FUNCTION(curl_slist_append);
	LIBRARY_FUNCTION(curl_slist_free_all);
} lib;

static const struct library_symbol symbols[] = {
	LIBRARY_SYMBOL(lib, curl_global_init),	  LIBRARY_SYMBOL(lib, curl_easy_init),
	LIBRARY_SYMBOL(lib, curl_easy_setopt),	  LIBRARY_SYMBOL(lib, curl_easy_perform),
	LIBRARY_SYMBOL(lib, curl_easy_getinfo),	  LIBRARY_SYMBOL(lib, curl_easy_strerror),
	LIBRARY_SYMBOL(lib, curl_easy_cleanup),	  LIBRARY_SYMBOL(lib, curl_slist_append),
	LIBRARY_SYMBOL(lib, curl_slist_free_all), { 0 },
};

static void load(void)
{
	/* Both version names of the ABI: Debian's for OpenSSL, and for GnuTLS. */
	static const char *const names[] = { "libcurl.so.4", "libcurl-gnutls.so.4", NULL };
	lib.ready = library_load(names, symbols) &&
		    lib.curl_global_init(CURL_GLOBAL_NOTHING) == CURLE_OK;
}

/* --- the handle --- */

static size_t take_body(char *data, size_t size, size_t count, void *cookie)
{
	struct fc_api *api = cookie;
	size_t len = size * count;
	api->too_long = api->answer.len + len > ANSWER_MAX;
	if (api->too_long)
		return 0;
	buf_add_bytes(&api->answer, data, len);
	return len;
}

static size_t take_header(char *data, size_t size, size_t count, void *cookie)
{
	struct fc_api *api = cookie;
	size_t len = size * count;
	if (len == 2 && !memcmp(data, "\r\n", 2))
		api->headers_end = true;
	return len;
}

#define SET(option, value)                                                                         \
	do {                                                                                       \
		if ((lib.curl_easy_setopt)(api->curl, option, value) != CURLE_OK)                  \
			return -1;                                                                 \
	} while (0)

/* A proxy of the environment is for others; "Expect" would cost a round trip. */
static int set_up(struct fc_api *api)
{
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_HTTPHEADER, api->headers);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, api);
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, api);
	return 0;
}

struct fc_api *fc_api_new(int vm_dirfd, struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, load);
	if (!lib.ready) {
		error_set(err, ERROR_NOT_FOUND,
			  "libcurl is needed to talk to Firecracker: apt-get install libcurl4");
		return NULL;
	}
	struct fc_api *api = xcalloc(1, sizeof(*api));
	api->answer = BUF_INIT;
	api->vm_dirfd = vm_dirfd;
	api->curl = lib.curl_easy_init();
	api->headers = lib.curl_slist_append(NULL, "Content-Type: application/json");
	if (api->headers)
		lib.curl_slist_append(api->headers, "Expect:");
	if (api->curl && api->headers && set_up(api) == 0)
		return api;
	fc_api_free(api);
	error_set(err, ERROR_SYSTEM, "libcurl cannot talk to unix sockets");
	return NULL;
}

void fc_api_free(struct fc_api *api)
{
	if (!api)
		return;
	lib.curl_easy_cleanup(api->curl);
	lib.curl_slist_free_all(api->headers);
	buf_clear(&api->answer);
	free(api);
}

/* --- what went wrong --- */

static int transport_error(const struct fc_api *api, CURLcode code, uint64_t timeout_ms,
			   struct error *err)
{
	if (api->too_long)
		return error_set(err, ERROR_SYSTEM, "the answer is longer than %u bytes",
				 ANSWER_MAX);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return error_set(err, ERROR_TIMEOUT, "no answer within %llu ms",
				 (unsigned long long)timeout_ms);
	if (code == CURLE_COULDNT_CONNECT) {
		error_set(err, ERROR_UNAVAILABLE, "nobody listens");
		err->sys = ECONNREFUSED;
		return -1;
	}
	/* CURLE_OK: a whole first line and no end of the headers. */
	error_set(err, ERROR_SYSTEM, "the answer was cut off: %s",
		  code == CURLE_OK ? "it ends in its headers" : lib.curl_easy_strerror(code));
	err->sys = ECONNRESET;
	return -1;
}

/* What a refusal means for a second try; the rest may pass by itself. There are no codes, only
 * texts. */
static enum error_code refusal_code(long status, const char *text)
{
	static const char *const lasting[] = {
		"An error occurred when deserializing",
		"Invalid request method",
		"Machine config error",
		"API Resource IDs",
	};
	if (status == 503)
		return ERROR_BUSY;
	for (size_t i = 0; i < ARRAY_COUNT(lasting); i++)
		if (!strncmp(text, lasting[i], strlen(lasting[i])))
			return ERROR_INVALID;
	return ERROR_SYSTEM;
}

/* {"fault_message": "..."}, or whatever else there is: the server's own errors are no JSON. */
static int refusal(const struct fc_api *api, long status, struct error *err)
{
	struct error ignored;
	auto_buf struct buf quote = BUF_INIT;
	auto_json cJSON *json = json_parse(api->answer.data, api->answer.len, &ignored);
	const char *text = json_str(json, "fault_message", api->answer.data);
	buf_add_printable(&quote, text, strnlen(text, QUOTE_BYTES));
	return error_set(err, refusal_code(status, text), "refused: %s",
			 quote.len ? quote.data : "without a word");
}

/* --- the call --- */

static int perform(struct fc_api *api, const struct fc_call *call, const char *body,
		   uint64_t timeout_ms)
{
	auto_free char *url = xasprintf("http://localhost%s", call->path);
	char path[UNIX_LOCATED];
	/* In a jail the socket is the jailed process's own to make, or something else instead. */
	auto_close int at = unix_locate(api->vm_dirfd, VM_FILE_API, path);
	if (at < 0)
		return CURLE_COULDNT_CONNECT;
	SET(CURLOPT_UNIX_SOCKET_PATH, path);
	SET(CURLOPT_URL, url);
	SET(CURLOPT_CUSTOMREQUEST, call->method);
	SET(CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	if (body) {
		SET(CURLOPT_POSTFIELDS, body);
		SET(CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	} else {
		SET(CURLOPT_HTTPGET, 1L);
	}
	api->headers_end = api->too_long = false;
	buf_reset(&api->answer);
	return (int)lib.curl_easy_perform(api->curl);
}

static int understand(const struct fc_api *api, cJSON **ret, struct error *err)
{
	long status = 0;
	(lib.curl_easy_getinfo)(api->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200 && status != 204)
		return refusal(api, status, err);
	if (!ret)
		return 0;
	*ret = NULL;
	if (status == 200)
		*ret = json_parse(api->answer.data, api->answer.len, err);
	return status == 200 && !*ret ? -1 : 0;
}

int fc_api_call(struct fc_api *api, const struct fc_call *call, uint64_t timeout_ms, cJSON **ret,
		struct error *err)
{
	auto_free char *body = call->body ? json_print(call->body) : NULL;
	/* 0 would mean that it may take for ever. */
	int code = perform(api, call, body, timeout_ms ? timeout_ms : 1);
	int failed = 0;
	if (code < 0)
		failed = error_set(err, ERROR_SYSTEM, "libcurl does not take the call");
	else if (code != CURLE_OK || !api->headers_end)
		failed = transport_error(api, (CURLcode)code, timeout_ms, err);
	else
		failed = understand(api, ret, err);
	return failed < 0 ? error_wrap(err, "%s %s", call->method, call->path) : 0;
}

int fc_api_get(struct fc_api *api, const char *path, uint64_t timeout_ms, cJSON **ret,
	       struct error *err)
{
	const struct fc_call call = { .method = "GET", .path = path };
	return fc_api_call(api, &call, timeout_ms, ret, err);
}
