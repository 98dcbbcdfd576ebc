/*
 * Sends finished mails to one SMTP server. An engine keeps its connection in the calling thread
 * and uses it for many mails: libesmtp (smtp_esmtp.c) and libcurl (smtp_curl.c), see
 * docs/adr/libesmtp.md for which is used when.
 */
#ifndef TASKS_EMAIL_SMTP_H
#define TASKS_EMAIL_SMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum smtp_tls {
	SMTP_TLS_NEVER,
	SMTP_TLS_AUTO,	   /* STARTTLS when the server offers it */
	SMTP_TLS_REQUIRED, /* STARTTLS, or the mail is not sent */
	SMTP_TLS_IMPLICIT, /* from the first byte (port 465) */
};

/* Texts are borrowed; an engine that keeps a connection copies them. */
struct smtp_server {
	const char *host, *port;
	const char *user, *password; /* user NULL = no AUTH */
	const char *ca_file;	     /* NULL = the system's */
	const char *cert_file;	     /* ours; NULL = none */
	const char *key_file;	     /* NULL = in cert_file */
	enum smtp_tls tls;
	bool has_verify; /* check certificate and name */
	int timeout_ms;	 /* of each step */
	int idle_ms;	 /* how long an unused connection is kept */
};

struct smtp_reply {
	int code;	/* 0 = none came */
	char text[500]; /* one line, enhanced status included */
};

struct smtp_mail {
	const char *sender;
	const char *const *recipients;
	size_t count;
	const char *data; /* CRLF lines, not dot-stuffed */
	size_t len;
};

/* What became of a mail. A zeroed result says that it was not sent. */
enum smtp_end {
	SMTP_LOST,		 /* connection broke before the whole mail was sent: text */
	SMTP_SENT,		 /* accepted for at least one recipient; reply = the final 250 */
	SMTP_REFUSED_CONNECT,	 /* greeting or EHLO was not 2xx: reply */
	SMTP_REFUSED_AUTH,	 /* reply */
	SMTP_REFUSED_SENDER,	 /* reply */
	SMTP_REFUSED_RECIPIENTS, /* every recipient: their replies */
	SMTP_REFUSED_DATA,	 /* reply */
	SMTP_NO_STARTTLS,	 /* required, but the server does not offer it */
	SMTP_NO_AUTH_MECHANISM,	 /* none that the engine knows */
	SMTP_TLS_FAILED,	 /* text: certificate or handshake */
	SMTP_CONNECT_FAILED,	 /* text; is_connection_refused */
	SMTP_RESOLVE_FAILED,	 /* text */
	SMTP_UNKNOWN,		 /* ... after it: the server may have taken the mail or not: text */
	SMTP_TIMEOUT,		 /* no answer in time, before the whole mail was sent: text */
	SMTP_EXPIRED,		 /* the caller's soft time limit */
};

struct smtp_result {
	enum smtp_end end;
	struct smtp_reply reply;
	struct smtp_reply *recipients; /* one per recipient; the caller's array */
	bool is_connection_refused;
	char text[300];
};

/* Asked now and then while waiting; true = give up. */
struct smtp_patience {
	bool (*is_over)(void *arg);
	void *arg;
};

struct smtp_engine {
	const char *name;
	void (*send)(const struct smtp_server *server, const struct smtp_mail *mail,
		     const struct smtp_patience *patience, struct smtp_result *ret);
	/* Connects, greets, authenticates, leaves; SMTP_SENT when all that went well. */
	void (*probe)(const struct smtp_server *server, struct smtp_result *ret);
	/* Ends the calling thread's connection, if any. */
	void (*close)(void);
};

/* smtp_kept is smtp_esmtp that sends over a kept connection itself where the server offers
 * PIPELINING. */
extern const struct smtp_engine smtp_kept, smtp_esmtp, smtp_curl;

/* A connection is used for so many mails, then for a new one. */
#define SMTP_MAILS_PER_CONNECTION 100

/* Engine by the setting ("auto", "esmtp", "curl"); sends, and falls over to libcurl where libesmtp
 * has no mechanism. */
void smtp_send(const char *engine, const struct smtp_server *server, const struct smtp_mail *mail,
	       const struct smtp_patience *patience, struct smtp_result *ret);
void smtp_probe(const char *engine, const struct smtp_server *server, struct smtp_result *ret);
void smtp_close(void);

/* For engines: what a whole mail may take, as many steps as it has and a slow line for its size. */
long smtp_time_limit_ms(const struct smtp_server *server, size_t len);
int64_t smtp_now_ms(void);
/* For engines: a reply line ("250-2.1.0 Ok") without its line end, and the outcome by its code. */
void smtp_reply_set(struct smtp_reply *reply, const char *line, size_t len);
void smtp_result_text(struct smtp_result *ret, enum smtp_end end, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* After the last reply: sent, or who refused. */
void smtp_result_settle(struct smtp_result *ret, size_t count);

#endif
