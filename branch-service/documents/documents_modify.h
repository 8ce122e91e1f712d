/* Updates and deletes on a WAL branch: what documents_modify.c does for documents_find_and_modify.c, too. */
#ifndef ARGON_BRANCH_DOCUMENTS_DOCUMENTS_MODIFY_H
#define ARGON_BRANCH_DOCUMENTS_DOCUMENTS_MODIFY_H

#include "branch-service/documents/document_change.h"

struct modification {
    struct project *project; /* of the last evaluation */
    const struct collection_path *path;
    struct document_change change;
    int64_t deadline;
    struct caller caller;

    /* For one who is answered with the document: */
    bool after;
    struct bytes *found; /* NULL: nobody is. Set by evaluation, in the result's arena; without data: there is none */
    bool (*check_found)(void *ctx, struct bytes document, struct error *err); /* before anything is written; may be NULL */
    void *check_ctx;
};

/* One of update and remove. Also after a failure: documents_end_modify. */
CHECKED bool documents_begin_modify(struct modification *modification, const struct collection_path *path, const struct update_spec *update,
                                    const struct delete_spec *remove, const struct write_request *request, struct error *err);
/* Writers of one certain document take turns; others only meet at the log. */
CHECKED bool documents_modify(struct registry *registry, struct modification *modification, const struct write_request *request,
                              struct write_result *result, struct error *err);
void documents_end_modify(struct modification *modification);

/* A record of a document that matched and did not change. */
CHECKED bool unchanged_encode(const char *branch_id, const char *collection_id, struct bytes key, struct arena *arena, struct bytes *record,
                              struct error *err);

#endif
