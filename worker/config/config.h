/*
 * All settings, immutable after load. Names are Celery's lower-case names; config/table.c holds one
 * row per setting (name, old names, environment, type, fallback, help), from which come the file
 * reader, the environment, --help, the man page and docs/CONFIG.md.
 *
 * Precedence: command line over environment (CELERY_<NAME>, and the names of the seeds: EMAIL_*,
 * REDIS_*, DEBUG) over file (smallage.yaml) over built-in value.
 */
#ifndef WORKER_CONFIG_CONFIG_H
#define WORKER_CONFIG_CONFIG_H

#include <smallage/task.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/content.h"
#include "worker/routing/routing.h"

enum config_pool { CONFIG_PREFORK, CONFIG_THREADS, CONFIG_SOLO };

struct config {
	/* connection */
	char *broker_url;			  /* filesystem:// when nothing is configured */
	char *broker_read_url, *broker_write_url; /* of them where it is unset: never NULL */
	char *result_backend;		/* file://... then too; NULL or "disabled://" = none */
	char *broker_transport_options; /* JSON text or NULL */
	char *result_backend_transport_options; /* JSON text or NULL */
	double redis_socket_timeout, redis_socket_connect_timeout;
	double redis_backend_health_check_interval; /* 0 = never */
	bool redis_socket_keepalive;
	char *redis_client_name;
	char *broker_native_delayed_delivery_queue_type; /* "classic" or "quorum" */
	char *broker_login_method;			 /* "PLAIN", "EXTERNAL" or NULL */
	char *broker_use_ssl, *redis_backend_use_ssl;	 /* "true", "false", JSON text or NULL */
	double broker_heartbeat;
	double broker_connection_timeout;
	int broker_connection_max_retries; /* -1 = for ever */
	bool broker_connection_retry, broker_connection_retry_on_startup;
	/* tasks */
	char **accept_content;			  /* NULL-terminated */
	char *task_serializer, *task_compression; /* the latter or NULL */
	struct content_form task_form;		  /* of both: how a task's message is written */
	struct content_form mail_form; /* the same for remote control, which is never compressed */
	char *result_serializer, *result_compression; /* the latter or NULL */
	char **result_accept_content;		      /* NULL = accept_content */
	char *security_key, *security_key_password, *security_certificate, *security_cert_store;
	char *security_digest;
	struct auth *auth;		 /* of them; NULL without the serializer auth */
	struct content_form result_form; /* how a record is stored */
	bool task_acks_late, task_acks_on_failure, task_acks_on_timeout;
	bool task_reject_on_worker_lost, task_retry_on_worker_lost;
	bool task_ignore_result, task_store_errors_even_if_ignored, task_track_started;
	double task_time_limit, task_soft_time_limit; /* 0 = none */
	char *task_default_queue, *task_default_exchange, *task_default_exchange_type,
		*task_default_routing_key;
	int task_queue_max_priority;	 /* 0 = none */
	char *task_default_queue_type;	 /* "classic" or "quorum" */
	char *task_queues, *task_routes; /* JSON text or NULL; in `routing` */
	bool task_create_missing_queues, task_inherit_parent_priority;
	char *task_create_missing_queue_type, *task_create_missing_queue_exchange_type;
	struct routing *routing; /* of all these; never NULL */
	char **task_modules;	 /* prefixes under which the shipped tasks answer */
	char **imports; /* -I / include: plug-in files or folders besides the shipped ones */
	/* results */
	double result_expires;	       /* seconds; 0 = never */
	double result_failure_expires; /* < 0 = as result_expires */
	double result_chord_expires;   /* < 0 = as result_expires */
	double result_chord_join_timeout, result_chord_retry_interval;
	bool result_extended;
	bool result_persistent;
	char *database_table_names, *database_table_schemas; /* JSON texts or NULL */
	/* worker */
	enum config_pool worker_pool;
	unsigned worker_concurrency;
	char *autoscale;		       /* as given; NULL = off */
	unsigned autoscale_max, autoscale_min; /* of it; max 0 = off */
	double worker_autoscale_keepalive;
	bool worker_pool_restarts, worker_direct;
	bool worker_detect_quorum_queues, worker_deduplicate_successful_tasks;
	unsigned worker_prefetch_multiplier; /* 0 = unlimited */
	unsigned worker_max_tasks_per_child;
	uint64_t worker_max_memory_per_child; /* KiB */
	unsigned worker_eta_task_limit;	      /* 0 = none */
	double worker_soft_shutdown_timeout;
	bool worker_enable_soft_shutdown_on_idle;
	char *worker_state_db;		   /* or NULL */
	size_t worker_revokes_max;	   /* 0 = no limit */
	double worker_revoke_expires;	   /* seconds; 0 = never */
	uint64_t worker_max_message_bytes; /* arguments or result; 64 MiB */
	uint64_t
		worker_max_waiting_bytes; /* results and publishes that wait for a server; 64 MiB */
	char **template_dirs;		  /* searched before the shipped ones */
	int timezone_offset_s; /* of the setting `timezone` (UTC or a fixed offset or local zone) */
	bool debug;
	/* remote control */
	bool worker_enable_remote_control, control_queue_exclusive, control_queue_durable;
	char *control_exchange;
	double control_queue_ttl, control_queue_expires; /* < 0 = none */
	/* events */
	bool worker_send_task_events; /* -E */
	bool task_send_sent_event;
	char *event_exchange, *event_queue_prefix;
	double event_queue_ttl, event_queue_expires;
	bool event_queue_exclusive, event_queue_durable;
	bool without_heartbeat, without_gossip, without_mingle;
	double heartbeat_interval;
	/* this node */
	char *node_name;       /* "celery@host", after expansion */
	char **queues;	       /* -Q; NULL = default */
	char **exclude_queues; /* -X */
	char *log_file, *log_level, *log_format;
	char *pid_file;
	char *status_socket; /* path of the local status socket */
	char *http;	     /* where to answer over HTTP; NULL = nowhere */
	char *workdir;	     /* already changed to */
	char *config_file;   /* the settings file that was read, or NULL */
	bool purge;
	bool detach;
	char *run_as_user, *run_as_group; /* --uid, --gid: names or numbers; NULL = stay */
	char *umask_text;		  /* octal, or NULL */
	bool is_quiet;
	/* Lines for the log once it is open (level WARNING): accepted but meaningless options,
	 * unknown variables, a default that was chosen. NULL-terminated. */
	char **notices;
	struct config_store *store; /* all values as text, with their sources; config/store.h */
};

/* Where each value came from is kept for `smallage check`. Returns NULL with `err` set. `argv` is
 * what stands behind the subcommand; arguments that are no options are moved to its end and
 * *ret_rest gets the index of the first of them (NULL: such arguments are an error). Changes the
 * working directory when --workdir is given.
 * After loading plug-ins, call config_declare for each, then config_check_unknown. */
struct config *config_load(int argc, char **argv, int *ret_rest, struct err *err);
/* The same for another subcommand, which may have options of its own (config/cli.h). */
struct cli_use;
struct config *config_load_for(const struct cli_use *use, int argc, char **argv, int *ret_rest,
			       struct err *err);
void config_free(struct config *c);
/* Adds a plug-in's settings to the known names and reads their variables. The array must stay. */
void config_declare(struct config *c, const struct sm_setting_def *settings);
/* Fails when the file or the command line holds a name that nobody declared. */
int config_check_unknown(const struct config *c, struct err *err);
/* Value of any setting by name, as text ("" when unset). */
const char *config_get(const struct config *c, const char *name);
/* The same on the configuration loaded last, for the task API. */
const char *config_setting(const char *name);
/* The source of a value for people: "default", "smallage.yaml:3", "environment EMAIL_HOST",
 * "option -b". */
const char *config_where(const struct config *c, const char *name);
/* What bodies may be written in that come to us, and how large they may be. */
struct content_options config_content(const struct config *c);
/* The same for results. */
struct content_options config_result_content(const struct config *c);
/* Writes all values and their sources, a line each, secrets as ********. */
void config_dump(const struct config *c, struct str *out);
/* The same without those that have their default. */
void config_dump_given(const struct config *c, struct str *out);

#endif
