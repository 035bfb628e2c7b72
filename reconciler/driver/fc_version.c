/* What each release brought that makes a difference to us: a row a feature. A field that a release
 * does not know makes it refuse the whole call, so nothing is sent on suspicion. */
#include "driver/fc.h"
#include "driver/scan.h"

#define OLDEST FC_VERSION(1, 5)

static const fc_version since[FC_FEATURE_COUNT_] = {
	[FC_ACPI] = FC_VERSION(1, 8),
	[FC_REPORTING] = FC_VERSION(1, 14),
	[FC_HOTPLUG] = FC_VERSION(1, 16), /* 1.14, but its slots were misaligned until then */
	[FC_BZIMAGE] = FC_VERSION(1, 17),
};

bool fc_version_parse(const char *text, fc_version *ret)
{
	static const char program[] = "Firecracker ";
	uint64_t major, minor;
	if (!strncmp(text, program, strlen(program)))
		text += strlen(program);
	text += *text == 'v';
	if (!scan_number(&text, 10, UINT16_MAX, &major) || !scan_text(&text, ".") ||
	    !scan_number(&text, 10, UINT16_MAX, &minor))
		return false;
	*ret = FC_VERSION(major, minor);
	return true;
}

bool fc_can(fc_version version, enum fc_feature feature)
{
	return version >= since[feature];
}

int fc_version_check(fc_version version, struct error *err)
{
	if (version >= OLDEST)
		return 0;
	return error_set(err, ERROR_INVALID,
			 "Firecracker %u.%u is too old: 1.5 or newer is needed, 1.8 or newer for "
			 "the kernels of the catalog",
			 version >> 16, version & 0xffff);
}
