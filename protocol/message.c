#include "protocol/message.h"

#include <stdlib.h>

void message_init(struct message *m)
{
	*m = (struct message){.headers = json_object(), .priority = -1};
}

void message_clear(struct message *m)
{
	free(m->content_type);
	free(m->content_encoding);
	free(m->correlation_id);
	free(m->reply_to);
	free(m->expiration);
	json_decref(m->headers);
	free(m->body);
	free(m->exchange);
	free(m->routing_key);
	*m = (struct message){.priority = -1};
}
