/* Requests of aditctl: one JSON object per line, {"cmd": "tunnels", "tunnel": "acme/acme-gre"}; the answer is
 * {"result": ...} or {"error": "what, why, remedy"}.
 */
#include "daemon.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *message(const char *text)
{
    return json_pack("{s:s}", "message", text);
}

static struct report_source source(const struct daemon *d)
{
    return (struct report_source){.config = d->config,
                                  .handles = &d->handles,
                                  .ike = d->ike,
                                  .dp = d->dp,
                                  .crypto = d->crypto,
                                  .now = io_clock_now(),
                                  .started = d->started,
                                  .warnings = d->warnings,
                                  .n_warnings = d->n_warnings};
}

static json_t *socket_counts(const struct daemon *d)
{
    json_t *o = json_object();
    for (unsigned c = 0; c < IO_OUTER_COUNT_END; c++)
        json_object_set_new(o, io_outer_count_name(c), json_integer((json_int_t)sockets_count(d, c)));
    return o;
}

/* Of the TUNs that are open now, together. */
static json_t *device_counts(const struct daemon *d)
{
    struct io_tun_counts sum = {0};
    for (uint32_t i = 0; i < d->handles.n_accounts; i++) {
        struct io_tun_counts c;
        if (!inside_tun(d, i))
            continue;
        io_tun_counts(inside_tun(d, i), &c);
        sum.read += c.read;
        sum.written += c.written;
        sum.read_truncated += c.read_truncated;
        sum.read_error += c.read_error;
        sum.write_full += c.write_full;
        sum.write_down += c.write_down;
        sum.write_error += c.write_error;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "read", (json_int_t)sum.read, "written",
                     (json_int_t)sum.written, "read_truncated", (json_int_t)sum.read_truncated, "read_error",
                     (json_int_t)sum.read_error, "write_full", (json_int_t)sum.write_full, "write_down",
                     (json_int_t)sum.write_down, "write_error", (json_int_t)sum.write_error);
}

static json_t *worker_counts(const struct daemon *d, unsigned worker)
{
    struct crew_info info;
    json_t *o = json_object();
    crew_info(d->crew, worker, &info);
    for (unsigned c = 0; c < FORWARD_COUNT_END; c++)
        json_object_set_new(o, forward_count_name(c), json_integer((json_int_t)info.count[c]));
    json_object_set_new(o, "cpu_ms", json_integer((json_int_t)(info.cpu / NS_PER_MS)));
    return o;
}

/* Threads alone: without workers the traffic line says it all. */
static void set_workers(json_t *o, const struct daemon *d)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < crew_workers(d->crew); i++)
        json_array_append_new(list, worker_counts(d, i));
    if (crew_workers(d->crew))
        json_object_set_new(o, "control_thread", worker_counts(d, crew_workers(d->crew)));
    json_object_set_new(o, "workers", list);
}

static json_t *status(struct daemon *d, uint32_t tunnel, const json_t *request, struct io_error *e)
{
    struct report_source s = source(d);
    (void)tunnel, (void)request, (void)e;
    json_t *o = report_status(&s);
    json_object_set_new(o, "sockets", socket_counts(d));
    json_object_set_new(o, "devices", device_counts(d));
    set_workers(o, d);
    return o;
}

static json_t *tunnels(struct daemon *d, uint32_t tunnel, const json_t *request, struct io_error *e)
{
    struct report_source s = source(d);
    (void)request, (void)e;
    return report_tunnels(&s, tunnel);
}

static json_t *sas(struct daemon *d, uint32_t tunnel, const json_t *request, struct io_error *e)
{
    struct report_source s = source(d);
    (void)request, (void)e;
    return report_sas(&s, tunnel);
}

static json_t *reset(struct daemon *d, uint32_t tunnel, const json_t *request, struct io_error *e)
{
    struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_RESET, .handle = tunnel};
    (void)request;
    if (tunnel == TUNNEL_NONE || d->handles.tunnels[tunnel].row->type != TUNNEL_IPSEC) {
        snprintf(e->text, sizeof e->text, "reset: only an IPsec tunnel has SAs: name one");
        return NULL;
    }
    unsigned n = 0;
    struct ike_sa_info sa;
    for (size_t c = ike_sa_next(d->ike, 0, &sa); c; c = ike_sa_next(d->ike, c, &sa))
        n += sa.tunnel == tunnel;
    enum rc rc = ike_command(d->ike, io_clock_now(), &cmd, &d->acts);
    traffic_execute(d);
    if (rc != RC_OK) {
        snprintf(e->text, sizeof e->text, "reset: %s", rc_name(rc));
        return NULL;
    }
    snprintf(e->text, sizeof e->text, "%u IKE SA%s of the tunnel deleted; the peer may come up again", n,
             n == 1 ? "" : "s");
    return message(e->text);
}

static json_t *reload(struct daemon *d, uint32_t tunnel, const json_t *request, struct io_error *e)
{
    (void)tunnel, (void)request;
    return apply_reload(d, e) == RC_OK ? message(e->text) : NULL;
}

static json_t *shutdown_now(struct daemon *d, uint32_t tunnel, const json_t *request, struct io_error *e)
{
    (void)tunnel;
    if (!json_is_true(json_object_get(request, "delete"))) {
        snprintf(e->text, sizeof e->text, "shutdown ends every tunnel: say --delete");
        return NULL;
    }
    daemon_shutdown(d);
    return message("every peer is told; the daemon stops");
}

static const struct {
    const char *word;
    json_t *(*answer)(struct daemon *d, uint32_t tunnel, const json_t *request, struct io_error *e);
} commands[] = {
    {"status", status}, {"tunnels", tunnels}, {"sas", sas},
    {"reset", reset},   {"reload", reload},   {"shutdown", shutdown_now},
};

static enum rc find_tunnel(const struct daemon *d, const char *name, uint32_t *ret, struct io_error *e)
{
    enum rc rc = handles_lookup(&d->handles, name, ret);
    if (rc == RC_ABSENT)
        snprintf(e->text, sizeof e->text, "tunnel %.140s: no such tunnel; `aditctl tunnels` lists them", name);
    else if (rc == RC_EXISTS)
        snprintf(e->text, sizeof e->text, "tunnel %.100s: several accounts have one of that name: say ACCOUNT/%.100s",
                 name, name);
    return rc;
}

static json_t *answer(struct daemon *d, const json_t *request, struct io_error *e)
{
    const char *word = json_string_value(json_object_get(request, "cmd"));
    const char *name = json_string_value(json_object_get(request, "tunnel"));
    uint32_t tunnel = TUNNEL_NONE;
    if (name && find_tunnel(d, name, &tunnel, e) != RC_OK)
        return NULL;
    for (size_t i = 0; word && i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].word, word) == 0)
            return commands[i].answer(d, tunnel, request, e);
    snprintf(e->text, sizeof e->text, "no such command: status, tunnels, sas, reset, reload and shutdown exist");
    return NULL;
}

enum rc control_request(void *daemon, struct span line, struct buf *ret)
{
    struct io_error e = {"out of memory"};
    json_t *request = json_loadb((const char *)line.p, line.n, 0, NULL);
    json_t *result = json_is_object(request) ? answer(daemon, request, &e) : NULL;
    if (!json_is_object(request))
        snprintf(e.text, sizeof e.text, "not a JSON object; ask like {\"cmd\": \"status\"}");
    json_t *reply = result ? json_pack("{s:o}", "result", result) : json_pack("{s:s}", "error", e.text);
    char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
    enum rc rc = text ? buf_append(ret, span_str(text)) : RC_NOMEM;
    free(text);
    json_decref(reply);
    json_decref(request);
    return rc;
}
