#include "sys/library.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

bool library_load(const char *const *names, const struct library_symbol *symbols)
{
	void *handle = NULL;
	for (; *names && !handle; names++)
		handle = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
	for (; handle && symbols->name; symbols++) {
		void *symbol = dlsym(handle, symbols->name);
		if (!symbol)
			return false;
		memcpy(symbols->to, &symbol, sizeof(symbol));
	}
	return handle != NULL;
}
