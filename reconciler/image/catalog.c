#include "image/shelf.h"
#include "base/units.h"

#include <string.h>

const struct catalog_entry image_catalog[] = {
	{
		.name = "tiny",
		.recipe = "tiny.sh",
		.kernel = "debian-cloud",
		.min_memory = 128 * MIB,
		.description = "busybox, dropbear, sftp and git from Debian packages",
	},
	{
		.name = "debian",
		.recipe = "debian.sh",
		.kernel = "debian-cloud",
		.min_memory = 256 * MIB,
		.description = "Debian with systemd, OpenSSH, git and the usual tools",
	},
	{ .name = NULL },
};

const struct catalog_entry kernel_catalog[] = {
	{
		.name = "debian-cloud",
		.recipe = "kernel.sh",
		.argument = "debian-cloud",
		.description = "Debian's kernel for virtual machines",
	},
	{
		.name = "debian",
		.recipe = "kernel.sh",
		.argument = "debian",
		.description = "Debian's kernel with every driver",
	},
	{ .name = NULL },
};

const struct catalog_entry *catalog_find(const struct catalog_entry *catalog, const char *name)
{
	for (; catalog->name; catalog++)
		if (!strcmp(catalog->name, name))
			return catalog;
	return NULL;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;
	return least < c ? least : c;
}

/* Letters to add, drop or change to make one of the other; both at most STORE_NAME_MAX long. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[STORE_NAME_MAX + 1];
	size_t width = strlen(b);
	for (unsigned i = 0; i <= width; i++)
		row[i] = i;
	for (unsigned line = 1; *a; a++, line++) {
		unsigned diagonal = row[0];
		row[0] = line;
		for (size_t i = 1; i <= width; i++) {
			unsigned above = row[i];
			row[i] = min3(above + 1, row[i - 1] + 1, diagonal + (*a != b[i - 1]));
			diagonal = above;
		}
	}
	return row[width];
}

const char *catalog_suggest(const struct catalog_entry *catalog, const char *name)
{
	const char *best = NULL;
	unsigned least = 3; /* beyond two letters it is another word */
	for (; catalog->name; catalog++) {
		unsigned d = distance(name, catalog->name);
		if (d < least && d < strlen(catalog->name)) {
			least = d;
			best = catalog->name;
		}
	}
	return best;
}
