/* What a table of options says to people: --help, --print-config, the reference page. */
#include <inttypes.h>
#include <string.h>

#include "common/base/config.h"

static void print_scaled(FILE *out, uint64_t value, const char *const *units, const uint64_t *scales, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (value % scales[i] == 0 && (value || i + 1 == n)) {
            fprintf(out, "%" PRIu64 "%s", value / scales[i], units[i]);
            return;
        }
}

/* In the largest unit that is exact, as config_parse reads it. */
static void print_number(FILE *out, enum config_kind kind, uint64_t value)
{
    static const char *const sizes[] = { "G", "M", "K", "" };
    static const uint64_t size_scales[] = { 1 << 30, 1 << 20, 1 << 10, 1 };
    static const char *const times[] = { "h", "m", "s", "ms", "us" };
    static const uint64_t time_scales[] = { 3600000000, 60000000, 1000000, 1000, 1 };
    if (kind == CONFIG_BYTES)
        print_scaled(out, value, sizes, size_scales, ARRAY_LEN(sizes));
    else if (kind == CONFIG_DURATION && value)
        print_scaled(out, value, times, time_scales, ARRAY_LEN(times));
    else if (kind == CONFIG_DURATION)
        fputs("0s", out);
    else
        fprintf(out, "%" PRIu64, value);
}

void config_print_help(FILE *out, const struct config_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct config_option *option = &options[i];
        char left[64];
        char letter[8] = "    ";
        if (option->letter)
            snprintf(letter, sizeof letter, "-%c, ", option->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->kind == CONFIG_BOOL ? "" : " ",
                 option->kind == CONFIG_BOOL ? ""
                 : option->argument          ? option->argument
                                             : "VALUE");
        fprintf(out, "  %-30s %s", left, option->help);
        if (option->fallback && option->fallback[0])
            fprintf(out, " (default %s)", option->fallback);
        if (option->variable)
            fprintf(out, " [%s]", option->variable);
        fputc('\n', out);
    }
}

/* ---- --print-config --------------------------------------------------------------------------------- */

/* YAML reads these as they stand; everything else goes between quotes. */
static bool is_plain(const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:-";
    size_t len = strlen(text);
    return len > 0 && strspn(text, plain) == len && text[0] != '-' && text[0] != ':' && text[len - 1] != ':';
}

static void print_text(FILE *out, const char *text)
{
    if (is_plain(text)) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'')
            fputc('\'', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

/* Without user and password, and without the values of options behind '?', some of which are secrets. */
static void print_redacted(FILE *out, const char *uri)
{
    const char *scheme_end = strstr(uri, "://");
    const char *rest = scheme_end ? scheme_end + 3 : uri;
    const char *query = strchr(rest, '?');
    size_t len = query ? (size_t)(query - rest) : strlen(rest);
    const char *at = memrchr(rest, '@', len);
    char shown[1024];
    int part = at ? (int)(at + 1 - rest) : 0;
    snprintf(shown, sizeof shown, "%.*s%s%.*s%s", (int)(rest - uri), uri, at ? "***@" : "", (int)len - part, rest + part,
             query ? "?***" : "");
    print_text(out, shown);
}

static void print_value(FILE *out, const struct config_option *option)
{
    switch (option->kind) {
    case CONFIG_STRING:
        print_text(out, *(const char **)option->target);
        return;
    case CONFIG_URI:
        print_redacted(out, *(const char **)option->target);
        return;
    case CONFIG_BOOL:
        fputs(*(bool *)option->target ? "true" : "false", out);
        return;
    case CONFIG_UINT:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        print_number(out, option->kind, *(uint64_t *)option->target);
    }
}

static void print_origin(FILE *out, const struct config_option *option, const struct config_origin *origin)
{
    switch (origin->source) {
    case CONFIG_FROM_DEFAULT:
        fputs("default", out);
        return;
    case CONFIG_FROM_FILE:
        fprintf(out, "%s:%u", origin->path, origin->line);
        return;
    case CONFIG_FROM_ENVIRONMENT:
        fputs(option->variable, out);
        return;
    case CONFIG_FROM_FLAG:
        fprintf(out, "--%s", option->name);
    }
}

void config_print_values(FILE *out, const struct config_table *tables, size_t n_tables, const struct config_origin *origins)
{
    for (size_t t = 0; t < n_tables; t++)
        for (size_t i = 0; i < tables[t].n; i++, origins++) {
            if (tables[t].actions)
                continue;
            const struct config_option *option = &tables[t].options[i];
            fprintf(out, "%s: ", option->name);
            print_value(out, option);
            fputs(" # ", out);
            print_origin(out, option, origins);
            fputc('\n', out);
        }
}

/* ---- the reference page ----------------------------------------------------------------------------- */

static const char *const kind_names[] = {
    [CONFIG_STRING] = "text",       [CONFIG_UINT] = "number",     [CONFIG_BYTES] = "size",
    [CONFIG_DURATION] = "duration", [CONFIG_BOOL] = "true/false", [CONFIG_URI] = "URI",
};

static void print_range(FILE *out, const struct config_option *option)
{
    bool text = option->kind == CONFIG_STRING || option->kind == CONFIG_URI;
    if (text && option->argument)
        fprintf(out, "%s", option->argument);
    if (text || option->kind == CONFIG_BOOL || (!option->min && !option->max))
        return;
    print_number(out, option->kind, option->min);
    fputs(option->max ? " to " : " or more", out);
    if (option->max)
        print_number(out, option->kind, option->max);
}

static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_row(FILE *out, const struct config_option *option)
{
    char range[128] = ""; /* stays so when nothing is written */
    FILE *cell = fmemopen(range, sizeof range, "w");
    print_range(cell, option);
    fclose(cell);
    fprintf(out, "| `%s` | %s%s%s | %s | ", option->name, option->variable ? "`" : "", option->variable ? option->variable : "",
            option->variable ? "`" : "", kind_names[option->kind]);
    print_cell(out, range);
    fputs(" | ", out);
    if (option->fallback && option->fallback[0])
        fprintf(out, "`%s`", option->fallback);
    else if (option->kind == CONFIG_BOOL)
        fputs("`false`", out);
    fputs(" | ", out);
    print_cell(out, option->help);
    fputs(" |\n", out);
}

void config_print_markdown(FILE *out, const struct config_table *tables, size_t n_tables)
{
    for (int actions = 0; actions < 2; actions++) {
        fputs(actions ? "\nFor the command line only:\n\n| option | variable | type | range | default | what it does |\n"
                      : "| option and key | variable | type | range | default | what it is |\n",
              out);
        fputs("|---|---|---|---|---|---|\n", out);
        for (size_t t = 0; t < n_tables; t++)
            for (size_t i = 0; i < tables[t].n && tables[t].actions == (actions == 1); i++)
                print_row(out, &tables[t].options[i]);
    }
}
