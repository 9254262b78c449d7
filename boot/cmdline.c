#include "cmdline.h"
#include "layout_x86.h"

_Static_assert(sizeof_field(struct cmdline, text) <= CMDLINE_MAX, "any command line has its place");

static const char panic_word[] = "panic=-1";

/* is there a panic= for the kernel? and where do its words end: those behind "--" are for init */
static bool says_panic(const char *text, size_t *ret_end)
{
	bool found = false;
	const char *p = text;

	for (;;) {
		size_t n;

		p += strspn(p, " ");
		n = strcspn(p, " ");
		if (!n || (n == 2 && !memcmp(p, "--", 2)))
			break;
		if (!strncmp(p, "panic=", 6))
			found = true;
		p += n;
	}
	*ret_end = (size_t)(p - text);
	return found;
}

/* the kernel's word console=auto, and the words around it: false if there is none */
static bool find_auto(const char *text, size_t end, size_t *ret)
{
	static const char word[] = "console=auto";
	const size_t len = sizeof(word) - 1;

	for (size_t i = 0; i + len <= end; i++) {
		if (memcmp(text + i, word, len) || (i && text[i - 1] != ' ') ||
		    (text[i + len] && text[i + len] != ' '))
			continue;
		*ret = i + len - strlen("auto");
		return true;
	}
	return false;
}

/* panic=-1 behind the kernel's words, but before those of init */
static void add_panic(char *text, size_t size, const char *append, size_t end)
{
	bool before = end && append[end - 1] != ' ', after = append[end];

	snprintf(text, size, "%.*s%s%s%s%s", (int)end, append, before ? " " : "", panic_word,
		 after ? " " : "", append + end);
}

int cmdline_make(struct cmdline *line, const struct conf *conf)
{
	const char *append = conf->append;
	size_t len = strnlen(append, CONF_APPEND), end, at;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)append[i] < ' ' || append[i] == 0x7f)
			return err(-EINVAL,
				   "append: byte %zu is a control character (%#x); write words and "
				   "spaces only",
				   i + 1, (unsigned char)append[i]);
	if (len == CONF_APPEND)
		return err(-E2BIG, "append: is longer than %u bytes", CONF_APPEND - 1);
	if (says_panic(append, &end))
		memcpy(line->text, append, len + 1);
	else
		add_panic(line->text, sizeof(line->text), append, end);
	/* the first one only: the structure has a few bytes to spare, and not for many */
	if (find_auto(line->text, end, &at)) {
		const char *name = conf->console_device == CONSOLE_VIRTIO ? "hvc0" : "ttyS0";

		len = strlen(name);
		memmove(line->text + at + len, line->text + at + 4,
			strlen(line->text + at + 4) + 1);
		memcpy(line->text + at, name, len);
	}
	return 0;
}

int cmdline_write(const struct cmdline *line, struct gmem *mem, uint64_t most)
{
	size_t len = strlen(line->text);

	most = MIN(most, CMDLINE_MAX - 1);
	if (len > most)
		return err(-E2BIG,
			   "append: the command line is %zu bytes long with panic=-1, and this "
			   "kernel takes %lu",
			   len, most);
	return gmem_write(mem, CMDLINE_ADDR, line->text, len + 1);
}
