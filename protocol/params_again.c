/* Arguments of a second call that changes some of them. Mirrors celery/app/task.py, retry(). */
#include <string.h>

#include "protocol/params.h"
#include "protocol/params_impl.h"

/* What the new positional arguments fill is not given by name any more. */
static json_t *kwargs_beside(const struct params *params, const json_t *args, json_t *old)
{
	json_t *kwargs = json_object();
	const char *key;
	json_t *value;

	json_object_foreach (old, key, value)
		json_object_set_nocheck(kwargs, key, value);
	for (size_t i = params->only_positional;
	     i < params->positional_count && i < json_array_size(args); i++)
		json_object_del(kwargs, params->list[i].name);
	return kwargs;
}

/* A new keyword argument takes the place of a positional one of that name. */
static json_t *args_beside(const struct params *params, json_t *kwargs, const json_t *old)
{
	json_t *args = json_array();
	json_t *value;
	size_t i;

	json_array_foreach (old, i, value) {
		bool has_name = i >= params->only_positional && i < params->positional_count;
		const char *name = has_name ? params->list[i].name : NULL;
		json_t *other = name ? json_object_get(kwargs, name) : NULL;

		json_array_append(args, other ? other : value);
		if (other)
			json_object_del(kwargs, name);
	}
	return args;
}

void params_call_again(const struct params *params, json_t **args, json_t **kwargs,
		       json_t *old_args, json_t *old_kwargs)
{
	if (*args && !*kwargs)
		*kwargs = kwargs_beside(params, *args, old_kwargs);
	else if (*kwargs && !*args)
		*args = args_beside(params, *kwargs, old_args);
}
