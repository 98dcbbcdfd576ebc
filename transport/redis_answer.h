/* What an error answer of a Redis server means for the command that got it. Pure. */
#ifndef TRANSPORT_REDIS_ANSWER_H
#define TRANSPORT_REDIS_ANSWER_H

enum redis_answer {
	REDIS_ANSWER_FINAL,	 /* trying again will not help */
	REDIS_ANSWER_LATER,	 /* the server is in trouble: send it again after a while */
	REDIS_ANSWER_RECONNECT,	 /* not here any more (fail-over), or not this login */
	REDIS_ANSWER_NO_SCRIPT,	 /* the script cache was flushed: load it again */
	REDIS_ANSWER_NO_COMMAND, /* this server or user may not use the command */
};

enum redis_answer redis_answer_class(const char *text);

#endif
