/* tree_print.c - a tree as text for people and as JSON for programs */
#include <libfdt.h>

#include "state.h"

#define BYTES_SHOWN 32 /* of a long byte string in the text form */
#define DEPTH_MAX   32

/* a terminal would obey it, as JSON would not be any with it */
static bool is_control(const char *c, size_t len)
{
	return (unsigned char)*c < 0x20 || *c == 0x7f ||
	       (len == 2 && *c == (char)0xc2 && (unsigned char)c[1] < 0xa0);
}

static bool is_text(const char *v, int len)
{
	if (len < 1 || v[len - 1] || len == 4 || len == 8)
		return false;
	for (size_t i = 0, n; v[i]; i += n) {
		n = utf8_len(v + i, (size_t)len - 1 - i);
		if (!n || is_control(v + i, n))
			return false;
	}
	return len == 1 || v[0];
}

static void print_text(FILE *out, const char *v)
{
	fputc('"', out);
	for (; *v; v++) {
		if (*v == '"' || *v == '\\')
			fputc('\\', out);
		fputc(*v, out);
	}
	fputc('"', out);
}

/* of a tree that nobody has looked at: ours are letters, digits and a few signs */
static void print_name(FILE *out, const char *name)
{
	for (; name && *name; name++)
		fputc(*name > 0x20 && *name < 0x7f && *name != '"' && *name != '\\' ? *name : '?',
		      out);
}

static void print_bytes(FILE *out, const uint8_t *v, int len, bool json)
{
	int shown = json ? len : MIN(len, BYTES_SHOWN);

	fputc(json ? '"' : '[', out);
	for (int i = 0; i < shown; i++)
		fprintf(out, "%02x", v[i]);
	if (shown < len)
		fprintf(out, "... %d bytes", len);
	fputc(json ? '"' : ']', out);
}

static void print_value(FILE *out, const void *v, int len, bool json)
{
	if (is_text(v, len))
		print_text(out, v);
	else if (len == 4)
		fprintf(out, json ? "%lu" : "%#lx", (unsigned long)fdt32_ld(v));
	else if (len == 8)
		fprintf(out, json ? "%lu" : "%#lx", (unsigned long)fdt64_ld(v));
	else
		print_bytes(out, v, len, json);
}

static void indent(FILE *out, int depth)
{
	for (int i = 0; i < depth; i++)
		fputs("  ", out);
}

static void print_node(const void *fdt, FILE *out, int node, int depth, bool json)
{
	const char *name, *sep = "";
	int prop, sub, len;

	if (depth > DEPTH_MAX)
		return;
	fdt_for_each_property_offset(prop, fdt, node)
	{
		const void *v = fdt_getprop_by_offset(fdt, prop, &name, &len);

		if (!v)
			break;
		if (json)
			fputs(sep, out);
		else
			indent(out, depth);
		fputs(json ? "\"" : "", out);
		print_name(out, name);
		fputs(json ? "\":" : " = ", out);
		print_value(out, v, len, json);
		if (!json)
			fputc('\n', out);
		sep = ",";
	}
	fdt_for_each_subnode(sub, fdt, node)
	{
		name = fdt_get_name(fdt, sub, NULL);
		if (json)
			fputs(sep, out);
		else
			indent(out, depth);
		fputs(json ? "\"" : "", out);
		print_name(out, name);
		fputs(json ? "\":{" : " {\n", out);
		print_node(fdt, out, sub, depth + 1, json);
		if (!json)
			indent(out, depth);
		fputs(json ? "}" : "}\n", out);
		sep = ",";
	}
}

void tree_print(const void *fdt, FILE *out, bool json)
{
	if (json)
		fputc('{', out);
	print_node(fdt, out, 0, 0, json);
	if (json)
		fputs("}\n", out);
}
