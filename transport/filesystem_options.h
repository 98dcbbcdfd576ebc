/* broker_transport_options of kombu's filesystem transport: the folders. */
#ifndef TRANSPORT_FILESYSTEM_OPTIONS_H
#define TRANSPORT_FILESYSTEM_OPTIONS_H

#include "base/err.h"

struct filesystem_options {
	char *in;	 /* data_folder_in */
	char *out;	 /* data_folder_out */
	char *control;	 /* control_folder */
	char *processed; /* processed_folder; NULL unless store_processed */
};

/* `json` is the text of an object, or NULL for kombu's defaults. */
int filesystem_options_read(struct filesystem_options *o, const char *json, struct err *err);
/* Creates the folders that are missing. */
int filesystem_options_make_folders(const struct filesystem_options *o, struct err *err);
void filesystem_options_clear(struct filesystem_options *o);

#endif
