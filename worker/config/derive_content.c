/* Settings of what messages and results are written in. */
#include <string.h>
#include <strings.h>

#include "protocol/compression.h"
#include "worker/config/derive.h"

static int check_accepted(const struct config *c, struct err *err)
{
	for (char **type = c->accept_content; type && *type; type++)
		if (strcasecmp(*type, "json") != 0 && strcasecmp(*type, "application/json") != 0)
			return err_set(err, ERR_UNSUPPORTED,
				       "accept_content: '%.60s' is not supported; this version "
				       "reads json",
				       *type);
	return 0;
}

static int find_compression(const char *setting, const char *name,
			    const struct compression **ret_found, struct err *err)
{
	*ret_found = name && *name ? compression_find(name, strlen(name)) : NULL;
	if (name && *name && !*ret_found)
		return err_set(err, ERR_INVALID, "%s: '%.60s' is no compression; there is %s",
			       setting, name, compression_names());
	return 0;
}

int derive_content(struct config *c, struct err *err)
{
	if (check_accepted(c, err) < 0)
		return -1;
	return find_compression("task_compression", c->task_compression, &c->task_form.compression,
				err);
}
