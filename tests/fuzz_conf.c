/* fuzz_conf - any bytes as a configuration file: refused with a message, or read into a struct in
 * order */
#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *name, const uint8_t *data, size_t size)
{
	static struct conf conf;
	char text[CONF_APPEND + 64];
	int r;

	conf_defaults(&conf);
	err_clear();
	r = conf_load_text(&conf, name, data, size, NULL);
	if (!r)
		r = conf_check(&conf);
	BUG_ON(r > 0 || (r && !err_last()[0]));
	BUG_ON(conf.disks > CONF_DISKS || conf.initrds > CONF_INITRDS);
	/* what was read is in range and ends where it should, also after an error */
	for_each_field (f, conf_fields) {
		if (f->kind == FIELD_STR)
			BUG_ON(strnlen(field_at(f, &conf, 0), f->size) == f->size);
		if (f->kind <= FIELD_STR)
			field_print(f, &conf, text, sizeof(text));
		if (f->kind == FIELD_UINT || f->kind == FIELD_SIZE)
			BUG_ON((field_get(f, &conf) < f->lo || field_get(f, &conf) > f->hi) &&
			       f->dflt);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	load("fuzz.yaml", data, size);
	load("fuzz.toml", data, size);
	return 0;
}
