#include "transport/filesystem_options.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "protocol/pyjson.h"

static char *option(const json_t *options, const char *name, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(options, name));

	return mem_strdup(text && text[0] ? text : otherwise);
}

int filesystem_options_read(struct filesystem_options *o, const char *json, struct err *err)
{
	json_auto_t *options = NULL;

	if (json && json[0]) {
		options = pyjson_load(json, strlen(json), err);
		if (options == NULL)
			return err_prefix(err, "broker_transport_options: ");
	}
	o->in = option(options, "data_folder_in", "data_in");
	o->out = option(options, "data_folder_out", "data_out");
	o->control = option(options, "control_folder", "control");
	if (json_is_true(json_object_get(options, "store_processed")))
		o->processed = option(options, "processed_folder", "processed");
	return 0;
}

int filesystem_options_make_folders(const struct filesystem_options *o, struct err *err)
{
	if (folder_make(o->in, err) < 0 || folder_make(o->out, err) < 0 ||
	    folder_make(o->control, err) < 0)
		return -1;
	return o->processed ? folder_make(o->processed, err) : 0;
}

void filesystem_options_clear(struct filesystem_options *o)
{
	free(o->in);
	free(o->out);
	free(o->control);
	free(o->processed);
	memset(o, 0, sizeof(*o));
}
