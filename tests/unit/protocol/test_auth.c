#include "protocol/auth.h"

#include "base/text.h"
#include "protocol/content.h"
#include "tests/unit/protocol/auth_signer.h"
#include "tests/unit/protocol/content_golden.h"

static const char *const digests[] = {"sha256", "sha512", "sha1", "sha3_256"};

/* T-42 */
START_TEST(what_python_believes_is_believed_and_nothing_else)
{
	struct auth *all[4];
	struct golden g;

	for (size_t i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(all[i] = auth_new(digests[i], NULL));
	golden_open(&g, "tests/golden/content/auth.tsv");
	while (golden_next(&g)) {
		struct content_options options = {.accept = (const char *const[]){"auth", NULL}};
		auto_str out = STR_INIT(1 << 16);
		struct err err = {0};
		/* The inner type is not signed: one that was changed gives Python a text. */
		bool is_good = strncmp(g.field[2], "= [", 3) == 0;

		if (strcmp(g.field[0], "cert") == 0) {
			const struct str pem = {.data = g.field[1], .len = g.len[1]};

			for (size_t i = 0; i < 4; i++)
				ck_assert_int_eq(auth_trust(all[i], &pem, NULL), 0);
			continue;
		}
		for (size_t i = 0; i < 4; i++)
			if (strcmp(digests[i], g.field[0]) == 0)
				options.auth = all[i];
		int result = content_load("auth", &out, g.field[1], g.len[1], &options, &err);

		ck_assert_msg((result == 0) == is_good, "line %u: %s", g.number, err.text);
		ck_assert(utf8_is_valid(err.text, strlen(err.text)));
		if (is_good)
			ck_assert_str_eq(out.data, g.field[2] + 2);
	}
	for (size_t i = 0; i < 4; i++)
		auth_free(all[i]);
}
END_TEST

struct fixture {
	struct signer signer;
	struct auth *auth;
	struct str raw;
	struct auth_content content;
	struct err err;
};

static void set_up(struct fixture *x, long seconds)
{
	*x = (struct fixture){0};
	str_init(&x->raw, 1 << 16);
	signer_make(&x->signer, "Zażółć", 12345, seconds);
	x->auth = auth_new("sha256", NULL);
	ck_assert_msg(auth_set_signer(x->auth, &x->signer.key, NULL, &x->signer.certificate,
				      &x->err) == 0,
		      "%s", x->err.text);
	ck_assert_int_eq(auth_trust(x->auth, &x->signer.certificate, &x->err), 0);
}

static void tear_down(struct fixture *x)
{
	auth_free(x->auth);
	signer_clear(&x->signer);
	str_clear(&x->raw);
}

static void seal(struct fixture *x, struct str *out)
{
	auto_str body = STR_INIT(4096);

	str_puts(&body, "[[1], {}, {}]");
	ck_assert_int_eq(auth_seal(x->auth, out, "application/json", "utf-8", &body, &x->err), 0);
}

static int open_body(struct fixture *x, const struct str *sealed)
{
	str_reset(&x->raw);
	err_clear(&x->err);
	return auth_open(x->auth, &x->raw, &x->content, sealed->data, sealed->len, &x->err);
}

/* T-42 */
START_TEST(what_we_sign_is_believed_until_it_is_changed)
{
	struct fixture x;
	auto_str sealed = STR_INIT(1 << 16);

	set_up(&x, 3600);
	seal(&x, &sealed);
	ck_assert_msg(open_body(&x, &sealed) == 0, "%s", x.err.text);
	ck_assert_uint_eq(x.content.body.len, 13);
	ck_assert_mem_eq(x.content.body.data, "[[1], {}, {}]", 13);
	ck_assert_mem_eq(x.content.type.data, "application/json", x.content.type.len);
	sealed.data[sealed.len - 8] ^= 1;
	ck_assert_int_eq(open_body(&x, &sealed), -1);
	ck_assert_str_eq(x.err.text, "auth: Bad signature of 'Zażółć 12345'");
	tear_down(&x);
}
END_TEST

/* T-42 */
START_TEST(an_unknown_signer_is_not_believed)
{
	struct fixture x, other;
	auto_str sealed = STR_INIT(1 << 16);

	set_up(&x, 3600);
	set_up(&other, 3600);
	auth_free(other.auth);
	other.auth = auth_new("sha256", NULL);
	seal(&x, &sealed);
	ck_assert_int_eq(open_body(&other, &sealed), -1);
	ck_assert_str_eq(other.err.text, "auth: Unknown certificate: 'Zażółć 12345'");
	/* the same name with another key */
	ck_assert_int_eq(auth_trust(other.auth, &other.signer.certificate, NULL), 0);
	ck_assert_int_eq(open_body(&other, &sealed), -1);
	ck_assert_str_eq(other.err.text, "auth: Bad signature of 'Zażółć 12345'");
	tear_down(&x);
	tear_down(&other);
}
END_TEST

START_TEST(a_certificate_is_good_until_it_expires)
{
	struct fixture x;
	auto_str sealed = STR_INIT(1 << 16);
	struct timespec wait = {.tv_sec = 2, .tv_nsec = 100000000};

	set_up(&x, 2);
	seal(&x, &sealed);
	ck_assert_int_eq(open_body(&x, &sealed), 0);
	nanosleep(&wait, NULL);
	ck_assert_int_eq(open_body(&x, &sealed), -1);
	ck_assert_str_eq(x.err.text, "auth: Expired certificate: 'Zażółć 12345'");
	tear_down(&x);
}
END_TEST

START_TEST(certificates_and_keys_are_checked)
{
	struct fixture x;
	struct signer expired;
	const struct str none = {.data = (char[]){"no PEM"}, .len = 6};

	set_up(&x, 3600);
	ck_assert_int_eq(auth_trust(x.auth, &x.signer.certificate, &x.err), -1);
	ck_assert_str_eq(x.err.text, "Duplicate certificate: 'Zażółć 12345'");
	err_clear(&x.err);
	signer_make(&expired, "old", 1, -1);
	ck_assert_int_eq(auth_trust(x.auth, &expired.certificate, &x.err), -1);
	ck_assert_str_eq(x.err.text, "Expired certificate: 'old 1'");
	err_clear(&x.err);
	ck_assert_int_eq(auth_trust(x.auth, &none, &x.err), -1);
	ck_assert_str_eq(x.err.text, "Invalid certificate: no PEM form");
	err_clear(&x.err);
	struct auth *auth = auth_new("sha256", NULL);

	ck_assert_int_eq(auth_set_signer(auth, &none, NULL, &x.signer.certificate, &x.err), -1);
	auth_free(auth);
	err_clear(&x.err);
	auth = auth_new("sha256", NULL);
	ck_assert_int_eq(auth_set_signer(auth, &expired.key, NULL, &x.signer.certificate, &x.err),
			 -1);
	ck_assert_str_eq(x.err.text, "the key is not that of the certificate");
	auth_free(auth);
	ck_assert_ptr_null(auth_new("sha257", NULL));
	signer_clear(&expired);
	tear_down(&x);
}
END_TEST
