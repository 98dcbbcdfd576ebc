/* Any bytes as a signed body: nobody has signed them. And as what is signed, its base64 bent in one
 * place or in none: it is believed when nothing that counts was changed. */
#include "protocol/auth.h"

#include "tests/fuzz/fuzz.h"
#include "tests/unit/protocol/auth_signer.h"

static struct auth *signer_auth(void)
{
	static struct auth *auth;
	struct signer signer;

	if (auth)
		return auth;
	signer_make(&signer, "fuzz", 7, 86400);
	auth = auth_new("sha256", NULL);
	fuzz_check(auth_set_signer(auth, &signer.key, NULL, &signer.certificate, NULL) == 0);
	fuzz_check(auth_trust(auth, &signer.certificate, NULL) == 0);
	signer_clear(&signer);
	return auth;
}

static void check_signed(const struct auth *auth, const uint8_t *data, size_t size)
{
	auto_str body = STR_INIT(STR_MAX_DEFAULT);
	auto_str sealed = STR_INIT(STR_MAX_DEFAULT);
	auto_str raw = STR_INIT(STR_MAX_DEFAULT);
	size_t at = data[0] << 8 | data[1];
	struct auth_content content;

	str_add(&body, data + 2, size - 2);
	fuzz_check(auth_seal(auth, &sealed, "application/json", "utf-8", &body, NULL) == 0);
	if (at < sealed.len)
		sealed.data[at] ^= 1;
	if (auth_open(auth, &raw, &content, sealed.data, sealed.len, NULL) == 0) {
		fuzz_check(content.body.len == body.len);
		fuzz_check(body.len == 0 || memcmp(content.body.data, body.data, body.len) == 0);
	} else {
		fuzz_check(at < sealed.len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct auth *auth = signer_auth();
	auto_str raw = STR_INIT(STR_MAX_DEFAULT);
	struct auth_content content;
	struct err err = {0};

	fuzz_check(auth_open(auth, &raw, &content, (const char *)data, size, &err) < 0);
	fuzz_check_one_line(err.text);
	str_reset(&raw);
	auth_open(NULL, &raw, &content, (const char *)data, size, NULL);
	/* Signing takes a millisecond. */
	if (size > 2 && data[2] % 16 == 0)
		check_signed(auth, data, size);
	return 0;
}
