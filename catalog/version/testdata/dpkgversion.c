/*
 * Asks libdpkg, the library that dpkg is made of, for the order of versions.
 * Standard input has two versions in each line, with a blank between them;
 * for each, -1, 0 or 1 is printed, or x if dpkg does not take one of them.
 *
 * gcc -o dpkgversion dpkgversion.c -ldpkg (of Debian's libdpkg-dev)
 */
#define LIBDPKG_VOLATILE_API
#include <stdio.h>
#include <string.h>

#include <dpkg/dpkg.h>
#include <dpkg/dpkg-db.h>

static int parse(struct dpkg_version *v, const char *text)
{
	struct dpkg_error err = DPKG_ERROR_INIT;
	int failed = parseversion(v, text, &err);

	dpkg_error_destroy(&err);
	return !failed;
}

int main(void)
{
	static char line[4096];

	while (fgets(line, sizeof(line), stdin)) {
		struct dpkg_version v = DPKG_VERSION_INIT, w = DPKG_VERSION_INIT;
		char *second = strchr(line, ' ');

		line[strcspn(line, "\n")] = '\0';
		if (!second)
			return 1;
		*second++ = '\0';
		if (parse(&v, line) && parse(&w, second)) {
			int order = dpkg_version_compare(&v, &w);

			printf("%d\n", (order > 0) - (order < 0));
		} else {
			puts("x");
		}
	}
	return 0;
}
