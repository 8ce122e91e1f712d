/* Query semantics as data: every line of tests/corpus/KIND/OPERATOR.jsonl is one fact about MongoDB 7.0.
 *
 *   {"id", "kind", "docs", ..., "expect": ...}       what there is in front of expect, and what it means, is the kind's
 *   {"id", "kind", "docs", ..., "error": true, "code": 2}     it is refused with that code (or with any, without code)
 *
 * "note" says what a case is about, "differs" why tests/corpus/second_opinion.py gets another answer from the server
 * that it asks. A kind is a test program that calls corpus_run with what runs one case.
 */
#ifndef ARGON_TESTS_SUPPORT_CORPUS_H
#define ARGON_TESTS_SUPPORT_CORPUS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/bson/element.h"

enum { CORPUS_MAX_DOCS = 64 };

/* A case, and what came of it. */
struct corpus_case {
    const char *file;
    struct bytes root;
    char id[64];
    const char *failure; /* NULL: none */
    char detail[512];
    bool refused; /* with this error, which is right when the case says so */
    struct error refusal;
};

/* Calls corpus_fail or corpus_refuse unless all is as expected. */
typedef void corpus_run_fn(struct corpus_case *c);

/* All cases of a kind; the number of them. A failure fails the test. */
int corpus_run(const char *kind, corpus_run_fn *run);

void corpus_fail(struct corpus_case *c, const char *what, const char *detail);
void corpus_fail_document(struct corpus_case *c, const char *what, struct bytes document);
void corpus_refuse(struct corpus_case *c, const struct error *err);

bool corpus_field(struct bytes document, const char *name, struct element *out);
/* Of "docs" and the like; the first CORPUS_MAX_DOCS. */
size_t corpus_documents(struct bytes array, struct bytes *documents);
/* Byte for byte, but that {"$$type": "date"} stands for any value of that type. */
bool corpus_equal(struct bytes got, struct bytes expected);
bool corpus_equal_values(const struct element *got, const struct element *expected);

/* Fails the test when KIND/NAME.jsonl is missing for a name; a dollar in front is not part of it. */
void corpus_has_file(const char *kind, const char *name);

#endif
