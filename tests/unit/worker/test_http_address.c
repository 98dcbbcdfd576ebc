#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/control/http.h"

START_TEST(addresses_of_every_form_are_taken)
{
	static const char *const good[] = {"9500",  "0",      "127.0.0.1:9500", "localhost:1",
					   ":9500", "[::]:0", "[::1]:65535",	"0.0.0.0:0"};
	struct err err = {0};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		ck_assert_msg(http_address_check(good[i], &err) == 0, "%s", err.text);
}
END_TEST

START_TEST(other_texts_are_refused)
{
	static const char *const bad[] = {
		"",
		":",
		"x",
		"-1",
		"65536",
		"123456",
		"host:80",
		"1.2.3:80",
		"1.2.3.4:x",
		"1.2.3.4:",
		"::1:80",
		"[::1]",
		"[1.2.3.4]:80",
		"[]:80",
		"[::1:80",
		"1.2.3.4:80:90",
		"http://1.2.3.4:80",
		" 80",
		"+80",
		"127.0.0.1:9500 ",
		"[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]:80"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err err = {0};

		ck_assert_msg(http_address_check(bad[i], &err) == -1, "%s", bad[i]);
		ck_assert_ptr_nonnull(strstr(err.text, "is no address to listen at"));
	}
}
END_TEST

START_TEST(a_free_port_is_told)
{
	auto_str url = STR_INIT(256), again = STR_INIT(256);
	struct err err = {0};
	int fd = http_address_listen("0", &url, &err);

	ck_assert_msg(fd >= 0, "%s", err.text);
	ck_assert(strncmp(url.data, "http://127.0.0.1:", 17) == 0);
	ck_assert_int_gt(strtol(url.data + 17, NULL, 10), 1023);
	/* And nobody else gets it. */
	ck_assert_int_eq(http_address_listen(url.data + 7, &again, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "cannot listen at 127.0.0.1:"));
	ck_assert_ptr_nonnull(strstr(err.text, "Address already in use"));
	close(fd);
}
END_TEST

START_TEST(all_addresses_are_one_socket)
{
	auto_str url = STR_INIT(256);
	struct err err = {0};
	int fd = http_address_listen(":0", &url, &err);

	ck_assert_msg(fd >= 0, "%s", err.text);
	ck_assert(strncmp(url.data, "http://[::]:", 12) == 0 ||
		  strncmp(url.data, "http://0.0.0.0:", 15) == 0);
	close(fd);
}
END_TEST
END_TEST
