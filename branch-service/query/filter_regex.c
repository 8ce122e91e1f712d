#define PCRE2_CODE_UNIT_WIDTH 8
#include "branch-service/query/filter_regex.h"

#include <pcre2.h>
#include <stdatomic.h>

#include "branch-service/query/query_error.h"
#include "common/base/caller.h"

bool regex_read_options(struct bytes options, uint32_t *flags, struct error *err)
{
    static const struct {
        char name;
        uint32_t flag;
    } known[] = { { 'i', PCRE2_CASELESS }, { 'm', PCRE2_MULTILINE }, { 's', PCRE2_DOTALL }, { 'x', PCRE2_EXTENDED }, { 'u', 0 } };
    for (size_t i = 0; i < options.len; i++) {
        size_t at = 0;
        while (at < ARRAY_LEN(known) && known[at].name != (char)options.data[i])
            at++;
        if (at == ARRAY_LEN(known))
            return query_error(err, REGEX_INVALID_FLAG, "$regex: invalid flag in regex options: %.*s",
                               (int)(options.len < 16 ? options.len : 16), (const char *)options.data);
        *flags |= known[at].flag;
    }
    return true;
}

bool regex_compile(struct arena *arena, struct bytes pattern, struct bytes options, struct regex **chain, struct regex **out,
                   struct error *err)
{
    /* a stored text should be UTF-8; one that is not must not be read out of its bounds */
    uint32_t flags = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
    int code;
    PCRE2_SIZE offset;
    if (pattern.len > 0 && memchr(pattern.data, 0, pattern.len))
        return query_error(err, MONGO_BAD_VALUE, "$regex: regular expression cannot contain an embedded null byte");
    if (!regex_read_options(options, &flags, err))
        return false;
    if (pattern.len > MAX_REGEX_BYTES)
        return query_error(err, REGEX_INVALID, "$regex: a regular expression of %zu bytes is too long: %d are the limit", pattern.len,
                           MAX_REGEX_BYTES);
    if (!caller_still_waits(REGEX_COMPILE_STEPS + pattern.len, err))
        return false;
    struct regex *regex = arena_zalloc(arena, sizeof *regex);
    if (!regex)
        return error_out_of_memory(err);
    *regex = (struct regex) { .pattern = pattern, .options = options };
    regex->code = pcre2_compile(pattern.data, pattern.len, flags, &code, &offset, NULL);
    if (!regex->code) {
        PCRE2_UCHAR reason[120] = "";
        pcre2_get_error_message(code, reason, sizeof reason);
        return query_error(err, REGEX_INVALID, "$regex: regular expression is invalid: %s at offset %zu", (const char *)reason, offset);
    }
    /* Where there can be no executable memory it is interpreted. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    regex->next = *chain;
    *chain = regex;
    *out = regex;
    return true;
}

void regex_free_chain(struct regex *first)
{
    for (struct regex *regex = first; regex; regex = regex->next) {
        pcre2_code_free(regex->code);
        pcre2_match_data_free(atomic_load(&regex->spare));
    }
}

/* One for all: it holds nothing but the limits. */
static pcre2_match_context *limits;

__attribute__((constructor)) static void make_limits(void)
{
    limits = pcre2_match_context_create(NULL);
    if (limits) {
        pcre2_set_match_limit(limits, REGEX_MATCH_LIMIT);
        pcre2_set_heap_limit(limits, REGEX_HEAP_LIMIT_KIB);
    }
}

__attribute__((destructor)) static void free_limits(void)
{
    pcre2_match_context_free(limits);
}

bool regex_matches(struct regex *regex, struct bytes text, bool *matches, struct error *err)
{
    if (!caller_still_waits(text.len < REGEX_MATCH_STEPS ? 1 + text.len / 8 : REGEX_MATCH_STEPS, err))
        return false;
    pcre2_match_data *data = atomic_exchange(&regex->spare, NULL);
    if (!data)
        data = pcre2_match_data_create(1, NULL);
    if (!data || !limits)
        return error_out_of_memory(err);
    int result = pcre2_match(regex->code, text.data, text.len, 0, 0, data, limits);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(regex->code, text.data, text.len, 0, PCRE2_NO_JIT, data, limits);
    void *none = NULL;
    if (!atomic_compare_exchange_strong(&regex->spare, &none, data))
        pcre2_match_data_free(data);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH) {
        PCRE2_UCHAR reason[120] = "";
        pcre2_get_error_message(result, reason, sizeof reason);
        return query_error(err, REGEX_MATCH_FAILED, "$regex: matching '%.*s' was given up: %s",
                           (int)(regex->pattern.len < 60 ? regex->pattern.len : 60), (const char *)regex->pattern.data,
                           (const char *)reason);
    }
    *matches = result >= 0;
    return true;
}
