/* Regular expressions: PCRE2, as in MongoDB, with bounds on what one match can cost.
 *
 * Ownership  a regex is freed with the filter or schema that it is chained to.
 * Threads    any number at once.
 */
#ifndef ARGON_BRANCH_QUERY_FILTER_REGEX_H
#define ARGON_BRANCH_QUERY_FILTER_REGEX_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

enum { MAX_REGEX_BYTES = 16384 };

struct regex {
    struct bytes pattern, options; /* as written */
    void *code;
    _Atomic(void *) spare; /* match data that nobody uses */
    struct regex *next;
};

/* Pattern and options are borrowed for as long as the regex lives. */
CHECKED bool regex_compile(struct arena *arena, struct bytes pattern, struct bytes options, struct regex **chain, struct regex **regex,
                           struct error *err);
void regex_free_chain(struct regex *first);
/* An error: the limits were reached. */
CHECKED bool regex_matches(struct regex *regex, struct bytes text, bool *matches, struct error *err);

/* For who compiles and matches by themselves: flags of options such as "im", and the limits of a match. */
CHECKED bool regex_read_options(struct bytes options, uint32_t *flags, struct error *err);
enum {
    /* steps of backtracking; a hostile pattern is given up after some hundredths of a second */
    REGEX_MATCH_LIMIT = 1000000,
    REGEX_HEAP_LIMIT_KIB = 20 * 1024,
    /* the same for who looks after the caller (caller.h), and plenty: most need a thousandth of it */
    REGEX_COMPILE_STEPS = 64,
    REGEX_MATCH_STEPS = 512,
    REGEX_INVALID = 51091, /* MongoDB's codes */
    REGEX_INVALID_FLAG = 51108,
    REGEX_MATCH_FAILED = 51156,
};

#endif
