/* What the benchmarks of the query library share: documents in memory, one behind the other, and the time of one core. A
 * failure ends the program. */
#ifndef ARGON_BENCH_QUERY_DOCUMENTS_H
#define ARGON_BENCH_QUERY_DOCUMENTS_H

#include <bson/bson.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

enum { DOCUMENT_TEXT = 512 };

_Noreturn void query_bench_fail(const struct error *err);
double thread_seconds(void);
struct bytes bytes_of_document(const bson_t *document);
/* Extended JSON. */
void parse_document(const char *text, bson_t *document);
/* n of them, each written by write; freed with buffer_destroy. */
void make_documents(unsigned n, void (*write)(unsigned i, char text[DOCUMENT_TEXT]), struct buffer *all);

#endif
