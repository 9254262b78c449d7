/* t_net_conf - which networks may be asked for */
#include "net.h"
#include "suite.h"

static const struct {
	const char *net[2], *want;
} wrong_confs[] = {
	{ { "tap=" }, "tap interface is missing" },
	{ { "user,tap=t0" }, "tap=t0 and mode user" },
	{ { "tap=t0,socket=/x" }, "socket=/x is for mode user" },
	{ { "tap=t0", "tap=t0" }, "tap=t0 is given twice" },
	{ { "user,mac=02:00:00:00:00:0a", "user,mac=02:00:00:00:00:0A" }, "is given twice" },
	{ { "user,mac=03:00:00:00:00:01" }, "group's address" },
	{ { "user,mac=00:00:00:00:00:00" }, "no address" },
	{ { "user,mac=02:00:00:00:00:1" }, "no hardware address" },
	{ { "user,mac=02-00-00-00-00-01" }, "no hardware address" },
	{ { "user,mac=02:00:00:00:00:0g" }, "no hardware address" },
	{ { "user,mtu=67" }, "mtu=67" },
	{ { "tap=t0,forward=8080:80" }, "forward=8080:80 needs mode user" },
	{ { "user,socket=/x,forward=8080:80" }, "forward=8080:80 needs mode user" },
	{ { "user,forward=80 90" }, "write ports of 1 to 65535 as 8080:80" },
	{ { "user,forward=0:80" }, "forward=0:80: write ports" },
	{ { "user,forward=80:65536" }, "forward=80:65536: write ports" },
	{ { "user,forward=:80" }, "forward=:80: write ports" },
	{ { "user,forward=80:" }, "forward=80:: write ports" },
	{ { "user,forward=80-" }, "forward=80-: write ports" },
	{ { "user,forward=80:80:80" }, "forward=80:80:80: write ports" },
	{ { "user,forward=80+" }, "forward=80+: write ports" },
	{ { "user,forward=127.0.0.1:80" }, "forward=127.0.0.1:80: write ports" },
	{ { "user,forward=::1/80+0" }, "forward=::1/80+0: write ports" },
};

START_TEST(wrong_confs_are_told)
{
	struct conf *conf = malloc(sizeof(*conf));

	conf_defaults(conf);
	ck_assert(!conf_set(conf, "", "kernel", "k"));
	ck_assert(!conf_check(conf));
	for (unsigned i = 0; i < 2 && wrong_confs[_i].net[i]; i++)
		ck_assert(!conf_set(conf, "", "net", wrong_confs[_i].net[i]));
	ck_assert(conf_check(conf));
	ck_assert_msg(strstr(err_last(), wrong_confs[_i].want), "%s", err_last());
	free(conf);
}
END_TEST

START_TEST(right_confs)
{
	static const char *const right[] = {
		"tap=t0",
		"user",
		"none",
		"none,tap=t0",
		"user,socket=/x,mac=02:AB:cd:00:00:01,mtu=68",
		"user,forward=1+127.0.0.1/8080-8081:80-81+::1/65535:2"
	};
	struct conf *conf = malloc(sizeof(*conf));

	conf_defaults(conf);
	ck_assert(!conf_set(conf, "", "kernel", "k"));
	for (unsigned i = 0; i < ARRAY_SIZE(right); i++)
		ck_assert(!conf_set(conf, "", "net", right[i]));
	ck_assert_msg(!conf_check(conf), "%s", err_last());
	free(conf);
}
END_TEST

START_TEST(addresses)
{
	static struct conf box = { .name = "box", .net[2].mac = "06:00:00:00:00:0A" };
	static struct conf box1 = { .name = "box1" }, nobody;
	char a[18], b[18];
	uint8_t mac[6];

	net_mac_of(&box, 0, a);
	net_mac_of(&box, 0, b);
	ck_assert_str_eq(a, b);
	ck_assert(!conf_mac("", a, mac));
	ck_assert_uint_eq(mac[0], 2);
	net_mac_of(&box, 1, b);
	ck_assert_str_ne(a, b);
	net_mac_of(&box1, 0, b);
	ck_assert_str_ne(a, b);
	net_mac_of(&box, 2, b);
	ck_assert_str_eq(b, box.net[2].mac);
	net_mac_of(&nobody, 0, b);
	ck_assert_str_eq(b, "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net_conf");
	TCase *t = tcase_create("net_conf");

	tcase_add_loop_test(t, wrong_confs_are_told, 0, ARRAY_SIZE(wrong_confs));
	tcase_add_test(t, right_confs);
	tcase_add_test(t, addresses);
	suite_add_tcase(s, t);
	return suite_run(s);
}
