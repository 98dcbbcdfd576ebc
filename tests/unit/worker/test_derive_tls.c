/* What `smallage check` says of TLS. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/config/config.h"
#include "worker/config/derive_tls.h"

/* C-52 */
START_TEST(a_master_that_sentinels_name_is_said_to_be_verified)
{
	char use_ssl[] = "{\"ssl_cert_reqs\": \"required\"}";
	const char *urls = "sentinel://a:26379;sentinel://b:26379";
	const char *shown = "rediss://master at 127.0.0.1:6379/0";
	struct config config = {0};

	ck_assert_ptr_null(config_tls_of_broker(&config, urls, shown));
	config.broker_use_ssl = use_ssl;
	auto_free char *said = config_tls_of_broker(&config, urls, shown);

	ck_assert_ptr_nonnull(said);
	ck_assert_msg(strstr(said, "TLS") != NULL, "%s", said);
}
END_TEST
