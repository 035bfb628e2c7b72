#include "daemon/doctor.h"
#include "daemon/bangerd.h"

#include <stdarg.h>
#include <string.h>

void finding_set(struct finding *ret, enum health health, const char *format, ...)
{
	va_list args;
	buf_reset(&ret->detail);
	va_start(args, format);
	buf_addv(&ret->detail, format, args);
	va_end(args);
	ret->health = health;
}

static void finding_clear(struct finding *finding)
{
	buf_clear(&finding->detail);
	buf_clear(&finding->fix);
}

static void look(const struct doctor *doctor, const struct doctor_row *row, struct finding *ret)
{
	finding_clear(ret);
	*ret = (struct finding){ .detail = BUF_INIT, .fix = BUF_INIT };
	row->look(doctor, row, ret);
}

static void add_modules(cJSON *item, const char *const *modules)
{
	cJSON *list = cJSON_AddArrayToObject(item, "modules");
	for (; *modules; modules++)
		cJSON_AddItemToArray(list, cJSON_CreateString(*modules));
}

static cJSON *to_json(const struct doctor_row *row, const struct finding *finding)
{
	static const char *const words[] = { "pass", "warn", "fail" };
	const char *fix = finding->fix.len ? finding->fix.data : row->fix;
	cJSON *item = cJSON_CreateObject();
	json_add_str(item, "check", row->check);
	json_add_str(item, "status", words[finding->health]);
	json_add_str(item, "detail", finding->detail.data);
	json_add_str(item, "fix", finding->health == HEALTH_PASS ? NULL : fix);
	if (finding->modules)
		add_modules(item, finding->modules);
	return item;
}

static void mend_row(const struct doctor *doctor, const struct doctor_row *row,
		     struct finding *finding, cJSON **item)
{
	auto_buf struct buf done = BUF_INIT;
	struct error err = { 0 };
	if (row->mend(doctor, row, &done, &err) < 0) {
		cJSON_AddItemToObject(*item, "error", error_to_json(&err));
		return;
	}
	if (!done.len)
		return;
	look(doctor, row, finding);
	cJSON_Delete(*item);
	*item = to_json(row, finding);
	json_add_str(*item, "fixed", done.data);
}

static void report_row(const struct doctor *doctor, const struct doctor_row *row, bool mend,
		       cJSON *items)
{
	struct finding finding = { .detail = BUF_INIT, .fix = BUF_INIT };
	look(doctor, row, &finding);
	cJSON *item = to_json(row, &finding);
	if (mend && row->mend && finding.health != HEALTH_PASS)
		mend_row(doctor, row, &finding, &item);
	cJSON_AddItemToArray(items, item);
	finding_clear(&finding);
}

void doctor_report(const struct doctor *doctor, bool mend, cJSON *items)
{
	static const struct doctor_row *const tables[] = { doctor_programs, doctor_kernel,
							   doctor_own };
	const unsigned mode = doctor->paths->system ? IN_SYSTEM : IN_SESSION;
	for (size_t i = 0; i < ARRAY_COUNT(tables); i++)
		for (const struct doctor_row *row = tables[i]; row->check; row++)
			if (row->modes & mode)
				report_row(doctor, row, mend, items);
}
