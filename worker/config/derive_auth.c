/* Keys and certificates of the serializer auth. Mirrors celery/security. */
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "protocol/auth.h"
#include "worker/config/derive.h"

#define PEM_MAX ((size_t)1 << 20)

/* Links are followed: folders of certificates are full of them. */
static int read_pem(const char *setting, const char *path, struct str *out, struct err *err)
{
	FILE *file = fopen(path, "re");
	char piece[4096];
	size_t len;

	if (!file)
		return err_errno(err, "%s: %s", setting, path);
	while ((len = fread(piece, 1, sizeof(piece), file)) > 0)
		str_add(out, piece, len);
	bool is_bad = ferror(file) != 0;

	fclose(file);
	if (is_bad || out->is_full)
		return err_set(err, ERR_IO, "%s: %s cannot be read, or is larger than %zu bytes",
			       setting, path, PEM_MAX);
	return 0;
}

static int read_signer(struct config *c, struct err *err)
{
	auto_str key = STR_INIT(PEM_MAX);
	auto_str certificate = STR_INIT(PEM_MAX);

	if (read_pem("security_key", c->security_key, &key, err) < 0 ||
	    read_pem("security_certificate", c->security_certificate, &certificate, err) < 0)
		return -1;
	if (auth_set_signer(c->auth, &key, c->security_key_password, &certificate, err) < 0)
		return err_prefix(err, "security_key, security_certificate: ");
	return 0;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int read_store(struct config *c, struct err *err)
{
	const char *store = c->security_cert_store;
	auto_free char *pattern = mem_printf(is_folder(store) ? "%s/*" : "%s", store);
	glob_t found;
	int result = 0;

	if (glob(pattern, 0, NULL, &found) != 0)
		return err_set(err, ERR_NOT_FOUND, "security_cert_store: nothing matches %s",
			       pattern);
	for (size_t i = 0; i < found.gl_pathc && result == 0; i++) {
		auto_str pem = STR_INIT(PEM_MAX);

		result = read_pem("security_cert_store", found.gl_pathv[i], &pem, err);
		if (result == 0 && auth_trust(c->auth, &pem, err) < 0)
			result = err_prefix(err, "security_cert_store: %s: ", found.gl_pathv[i]);
	}
	globfree(&found);
	return result;
}

static bool is_auth(const char *name)
{
	return name && (strcmp(name, "auth") == 0 || strcmp(name, "application/data") == 0);
}

/* Signing what others do not verify, or verifying only some, would be no security: as Celery. */
static int check_all(const struct config *c, bool *ret_wanted, struct err *err)
{
	char *const *accept = c->accept_content;
	bool signs = is_auth(c->task_serializer), verifies = false;
	bool is_alone = accept && accept[0] && is_auth(accept[0]) && !accept[1];

	for (char *const *one = accept; one && *one; one++)
		verifies = verifies || is_auth(*one);
	*ret_wanted = signs || verifies;
	if (*ret_wanted && (!signs || !is_alone))
		return err_set(err, ERR_INVALID,
			       "signed messages need both task_serializer: auth and "
			       "accept_content: [auth], nothing else accepted");
	if (*ret_wanted &&
	    (!c->security_key || !c->security_certificate || !c->security_cert_store))
		return err_set(err, ERR_INVALID,
			       "signed messages need security_key, security_certificate and "
			       "security_cert_store");
	if (!*ret_wanted && (c->security_key || c->security_certificate || c->security_cert_store))
		return err_set(err, ERR_INVALID,
			       "security_* settings do nothing without task_serializer: auth and "
			       "accept_content: [auth]");
	if (!*ret_wanted && is_auth(c->result_serializer))
		return err_set(err, ERR_INVALID,
			       "result_serializer: auth needs task_serializer: auth");
	return 0;
}

int derive_auth(struct config *c, struct err *err)
{
	bool is_wanted;

	if (check_all(c, &is_wanted, err) < 0)
		return -1;
	if (!is_wanted)
		return 0;
	c->auth = auth_new(c->security_digest, err);
	if (!c->auth)
		return err_prefix(err, "security_digest: ");
	return read_signer(c, err) < 0 || read_store(c, err) < 0 ? -1 : 0;
}
