/* What of the settings may be shown to whoever asks over the broker. Pure. Source:
 * celery/app/utils.py, filter_hidden_settings(), sanitize_url(). */
#ifndef WORKER_CONTROL_MASK_H
#define WORKER_CONTROL_MASK_H

#include <jansson.h>
#include <stdbool.h>

#include "base/str.h"

#define MASK "********"

/* Appends a URL, or a list of them separated by ';', without passwords. */
void mask_urls(struct str *out, const char *urls, const char *mask);
/* A copy of a setting's value as Celery shows it; new reference. */
json_t *mask_setting(const char *name, const json_t *value);

/* What a broker URL says, with kombu's defaults filled in. */
struct broker_info {
	char *transport, *hostname, *userid, *virtual_host; /* userid may be NULL */
	int port;
	bool is_amqp, is_redis, is_tls;
};
/* Of the first URL of a fail-over list; false when it cannot be read. To be cleared. */
bool broker_info_read(struct broker_info *info, const char *urls);
void broker_info_clear(struct broker_info *info);
/* What kombu shows as `ssl` for that URL and the setting broker_use_ssl (tls_options.h): false,
 * true or what was said, without the key's password. */
json_t *broker_info_tls(const char *urls, const char *setting);

#endif
