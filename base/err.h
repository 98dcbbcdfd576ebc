/*
 * An error value owned by the caller. The first error wins: deep code may fail freely and the
 * user still sees the cause. Functions that fail return -1 (or NULL) and fill the last parameter,
 * which may be NULL. Text is for people, code is for programs. No secrets in the text.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err_code {
	ERR_NONE = 0,
	ERR_INVALID,	 /* input does not have the form it must have */
	ERR_LIMIT,	 /* input is larger than a stated maximum */
	ERR_NOT_FOUND,	 /* a named thing does not exist */
	ERR_REFUSED,	 /* the peer or a rule said no; trying again will not help */
	ERR_UNSUPPORTED, /* understood, but not something we do; text names what to use */
	ERR_IO,		 /* system call or connection failed; trying again may help */
	ERR_TIMEOUT,	 /* a deadline passed */
	ERR_PROTOCOL,	 /* the peer broke its protocol */
	ERR_INTERNAL,	 /* our own fault */
};

struct err {
	enum err_code code;
	char text[500];
};

/* Sets `err` unless it already holds an error. Returns -1, so a caller may `return err_set(...)`.
 */
int err_set(struct err *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* As err_set with ERR_IO, adding ": " and the text of errno. */
int err_errno(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts text in front of an error that is already set ("queue 'x': ..."). Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void err_clear(struct err *err);

#endif
