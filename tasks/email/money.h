/* Amounts of money as text. */
#ifndef TASKS_EMAIL_MONEY_H
#define TASKS_EMAIL_MONEY_H

#include <stddef.h>

/* "99.9" -> "99.90", "1e2" -> "100.00": two decimals, halves away from zero, exact for decimal
 * input of any length that fits. Returns -1 when `text` is no number or does not fit. */
int money_format(const char *text, char *out, size_t size);

#endif
