/* $redact: of each document and each document in it an expression says whether it stays, goes, or is looked into. */
#include "branch-service/query/aggregate/stage.h"
#include "common/bson/value_compare.h"

/* The expression's own variables, the innermost first. */
enum { CURRENT, DESCEND, PRUNE, KEEP, N_VARIABLES };

struct redact_spec {
    const struct expression *expression;
    struct expression_scope scopes[N_VARIABLES];
};

static bool compile_redact(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    static const char *const names[] = { [CURRENT] = "CURRENT", [DESCEND] = "DESCEND", [PRUNE] = "PRUNE", [KEEP] = "KEEP" };
    struct redact_spec *redact = spec_alloc(pipeline, sizeof *redact, err);
    if (!redact)
        return false;
    stage->spec = redact;
    for (size_t i = 0; i < N_VARIABLES; i++)
        redact->scopes[i] =
            (struct expression_scope) { names[i], strlen(names[i]), i + 1 < N_VARIABLES ? &redact->scopes[i + 1] : pipeline->scope };
    return expression_compile(spec, &redact->scopes[CURRENT], &pipeline->arena, &redact->expression, err);
}

/* One document on its way through. */
struct redaction {
    const struct redact_spec *spec;
    struct evaluation evaluation;
    struct expression_binding bindings[N_VARIABLES];
    struct run values;
};

static bool redact_document(struct redaction *r, const struct element *document, bool *stays, struct element *out);

/* What is neither an array nor a document stays. */
static bool redact_value(struct redaction *r, const struct element *value, bool *stays, struct element *out)
{
    struct element_reader reader;
    struct element e, item;
    struct list list = { 0 };
    *stays = true;
    *out = *value;
    if (value->type == BSON_TYPE_DOCUMENT)
        return redact_document(r, value, stays, out);
    if (value->type != BSON_TYPE_ARRAY)
        return true;
    element_reader_init(&reader, value->value);
    while (element_next(&reader, &e)) {
        bool item_stays;
        if (!redact_value(r, &e, &item_stays, &item) || (item_stays && !list_add(&r->values, &list, &item)))
            return false;
    }
    return make_array(&r->values, &list, out);
}

static bool redact_document(struct redaction *r, const struct element *document, bool *stays, struct element *out)
{
    struct element_reader reader;
    struct element e, verdict, field;
    struct list list = { 0 };
    r->bindings[CURRENT].value = *document;
    if (!expression_evaluate(r->spec->expression, &r->evaluation, &verdict, r->values.err))
        return false;
    *stays = value_compare_elements(&verdict, &r->bindings[PRUNE].value) != 0;
    *out = *document;
    if (!*stays || value_compare_elements(&verdict, &r->bindings[KEEP].value) == 0)
        return true;
    if (value_compare_elements(&verdict, &r->bindings[DESCEND].value) != 0)
        return fail(&r->values, 17053,
                    "$redact's expression should not return anything aside from the variables $$KEEP, $$DESCEND, and $$PRUNE");
    element_reader_init(&reader, document->value);
    while (element_next(&reader, &e)) {
        bool field_stays;
        if (!redact_value(r, &e, &field_stays, &field) || (field_stays && !list_add_named(&r->values, &list, e.name, e.name_len, &field)))
            return false;
    }
    return make_document(&r->values, &list, out);
}

static bool next_redacted(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    struct redaction r = { .spec = run->stage->spec };
    for (bool stays = false; !stays;) {
        if (!upstream_next(run, document, found, err))
            return false;
        if (!*found)
            return true;
        arena_clear(&run->arena);
        r.evaluation = stage_evaluation(run, *document);
        r.values = stage_values(run, err);
        for (size_t i = 0; i < N_VARIABLES; i++)
            r.bindings[i].outer = i + 1 < N_VARIABLES ? &r.bindings[i + 1] : r.evaluation.bindings;
        r.evaluation.bindings = &r.bindings[CURRENT];
        struct element whole = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = *document }, out;
        if (!make_text(&r.values, "descend", &r.bindings[DESCEND].value) || !make_text(&r.values, "prune", &r.bindings[PRUNE].value) ||
            !make_text(&r.values, "keep", &r.bindings[KEEP].value) || !redact_document(&r, &whole, &stays, &out))
            return false;
        *document = out.value;
    }
    return true;
}

static const struct stage_op ops[] = {
    { "$redact", compile_redact, NULL, NULL, next_redacted, NULL },
};

const struct stage_ops stages_redact = { ops, ARRAY_LEN(ops) };
