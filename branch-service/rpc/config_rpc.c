#include "branch-service/registry/registry_config.h"
#include "branch-service/rpc/convert.h"
#include "branch-service/rpc/services.h"

/* Messages name sources by the same numbers. */
_Static_assert((int)FEATURE_FROM_DEFAULT == ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_DEFAULT, "sources");
_Static_assert((int)FEATURE_FROM_FILE == ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_FILE, "sources");
_Static_assert((int)FEATURE_FROM_ENVIRONMENT == ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_ENVIRONMENT, "sources");
_Static_assert((int)FEATURE_FROM_FLAG == ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_FLAG, "sources");
_Static_assert((int)FEATURE_FROM_CATALOG == ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_CATALOG, "sources");

static bool fill(Argon__Branch__V1__ConfigValue *out, const struct features *features, enum feature feature, struct arena *arena,
                 struct error *err)
{
    char text[FEATURE_TEXT_SIZE];
    features_format(features, feature, text);
    *out = (Argon__Branch__V1__ConfigValue)ARGON__BRANCH__V1__CONFIG_VALUE__INIT;
    out->key = (char *)feature_key(feature);
    out->value = arena_strdup(arena, text);
    out->source = (Argon__Branch__V1__ConfigSource)features->sources[feature];
    return out->value || error_out_of_memory(err);
}

void config_rpc_on_get(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__GetConfigRequest *request = (const Argon__Branch__V1__GetConfigRequest *)message;
    Argon__Branch__V1__GetConfigResponse response = ARGON__BRANCH__V1__GET_CONFIG_RESPONSE__INIT;
    Argon__Branch__V1__ConfigValue value;
    struct features features;
    enum feature feature;
    struct error err;
    if (!feature_find(request->key, &feature, &err) ||
        !registry_config_get(service, convert_deadline(call), &features, &response.lsn, &err) ||
        !fill(&value, &features, feature, rpc_call_arena(call), &err)) {
        rpc_fail(call, &err);
        return;
    }
    response.value = &value;
    rpc_reply(call, &response.base);
}

void config_rpc_on_list(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)message;
    Argon__Branch__V1__ListConfigResponse response = ARGON__BRANCH__V1__LIST_CONFIG_RESPONSE__INIT;
    Argon__Branch__V1__ConfigValue values[N_FEATURES], *pointers[N_FEATURES];
    struct features features;
    struct error err;
    bool ok = registry_config_get(service, convert_deadline(call), &features, &response.lsn, &err);
    for (size_t i = 0; ok && i < N_FEATURES; i++) {
        pointers[i] = &values[i];
        ok = fill(&values[i], &features, (enum feature)i, rpc_call_arena(call), &err);
    }
    if (!ok) {
        rpc_fail(call, &err);
        return;
    }
    response.values = pointers;
    response.n_values = N_FEATURES;
    rpc_reply(call, &response.base);
}

static struct setting *alloc_settings(struct rpc_call *call, size_t n)
{
    struct error err;
    struct setting *settings = arena_alloc(rpc_call_arena(call), (n + 1) * sizeof *settings);
    if (!settings) {
        error_fill(&err, ERROR_RESOURCE_EXHAUSTED, "out of memory");
        fail_not_applied(call, &err);
    }
    return settings;
}

void config_rpc_on_set(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__SetConfigRequest *request = (Argon__Branch__V1__SetConfigRequest *)message;
    Argon__Branch__V1__SetConfigResponse response = ARGON__BRANCH__V1__SET_CONFIG_RESPONSE__INIT;
    struct write_request write;
    struct error err;
    struct setting *settings = alloc_settings(call, request->n_settings);
    if (!settings)
        return;
    convert_write(call, "SetConfig", message, &request->write, rpc_call_arena(call), &write);
    for (size_t i = 0; i < request->n_settings; i++)
        settings[i] = (struct setting) { .key = request->settings[i]->key, .value = request->settings[i]->value };
    if (registry_config_set(service, settings, request->n_settings, &write, &response.lsn, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}

void config_rpc_on_unset(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__UnsetConfigRequest *request = (Argon__Branch__V1__UnsetConfigRequest *)message;
    Argon__Branch__V1__UnsetConfigResponse response = ARGON__BRANCH__V1__UNSET_CONFIG_RESPONSE__INIT;
    struct write_request write;
    struct error err;
    struct setting *settings = alloc_settings(call, request->n_keys);
    if (!settings)
        return;
    convert_write(call, "UnsetConfig", message, &request->write, rpc_call_arena(call), &write);
    for (size_t i = 0; i < request->n_keys; i++)
        settings[i] = (struct setting) { .key = request->keys[i] };
    if (registry_config_set(service, settings, request->n_keys, &write, &response.lsn, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}
