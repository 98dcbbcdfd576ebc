#include "worker/control/http_library.h"

#include <dlfcn.h>
#include <string.h>

static const char file_name[] = "libmicrohttpd.so.12";

int http_library_load(struct http_library *ret, struct err *err)
{
	void *library = dlopen(file_name, RTLD_NOW | RTLD_LOCAL);
	void *symbol;

	if (!library)
		return err_set(err, ERR_NOT_FOUND,
			       "%s cannot be loaded (Debian package libmicrohttpd12): %s",
			       file_name, dlerror());
#define HTTP_LIBRARY_FIND(name)                                                                    \
	symbol = dlsym(library, "MHD_" #name);                                                     \
	if (!symbol)                                                                               \
		return err_set(err, ERR_UNSUPPORTED, "%s has no MHD_" #name, file_name);           \
	memcpy(&ret->name, &symbol, sizeof(symbol));
	HTTP_LIBRARY_EACH(HTTP_LIBRARY_FIND)
#undef HTTP_LIBRARY_FIND
	return 0;
}
