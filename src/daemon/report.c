#include "report.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static json_t *json_addr(const struct addr *a)
{
    char text[ADDR_TEXT];
    return a->family ? json_string(addr_text(a, text)) : json_null();
}

static json_t *json_endpoint(const struct endpoint *e)
{
    char text[ENDPOINT_TEXT];
    return json_string(endpoint_text(e, text));
}

static json_t *json_prefix(const struct prefix *p)
{
    char text[PREFIX_TEXT];
    return p->addr.family ? json_string(prefix_text(p, text)) : json_null();
}

/* "0.0.0.0/0", "10.1.0.0-10.1.3.1"; protocol and ports only where they narrow: "10.1.0.1/32 proto 6 ports 80-81" */
static json_t *json_ts(const struct ts *ts)
{
    char first[ADDR_TEXT], last[ADDR_TEXT], range[PREFIX_TEXT + ADDR_TEXT], extra[48] = "";
    struct prefix p;
    if (prefix_of_range(&ts->first, &ts->last, &p) == RC_OK)
        prefix_text(&p, range);
    else
        snprintf(range, sizeof range, "%s-%s", addr_text(&ts->first, first), addr_text(&ts->last, last));
    if (ts->port_first != 0 || ts->port_last != 65535)
        snprintf(extra, sizeof extra, " proto %u ports %u-%u", ts->proto, ts->port_first, ts->port_last);
    else if (ts->proto)
        snprintf(extra, sizeof extra, " proto %u", ts->proto);
    return json_sprintf("%s%s", range, extra);
}

static json_int_t age_of(uint64_t now, uint64_t then)
{
    return then ? (json_int_t)((now - then) / NS_PER_S) : -1;
}

static size_t append(char *ret, size_t at, const char *prefix, const char *name)
{
    int n = at < SUITE_TEXT ? snprintf(ret + at, SUITE_TEXT - at, "%s%s%s", at ? "/" : "", prefix, name) : 0;
    return at + (n > 0 ? (size_t)n : 0);
}

const char *report_suite_text(const struct suite *s, char ret[SUITE_TEXT])
{
    size_t at = append(ret, 0, "", crypto_encr_name(s->encr, s->encr_bits));
    if (s->integ)
        at = append(ret, at, "", crypto_integ_name(s->integ));
    if (s->prf)
        at = append(ret, at, "", crypto_prf_name(s->prf));
    if (s->ke)
        at = append(ret, at, "", crypto_ke_name(s->ke));
    for (unsigned i = 0; i < ADDKE_MAX && s->addke[i]; i++) {
        char which[8];
        snprintf(which, sizeof which, "KE%u_", i + 1);
        at = append(ret, at, which, crypto_ke_name(s->addke[i]));
    }
    return ret;
}

static json_t *json_suite(const struct suite *s)
{
    char text[SUITE_TEXT];
    return json_string(report_suite_text(s, text));
}

static json_t *json_drops(const struct dp_counters *c)
{
    json_t *o = json_object();
    for (unsigned r = DP_REASON_NONE + 1; r < DP_REASON_END; r++)
        if (c->drops[r])
            json_object_set_new(o, dp_reason_name(r), json_integer((json_int_t)c->drops[r]));
    return o;
}

static void set_counters(json_t *o, const struct dp_counters *c)
{
    json_object_set_new(o, "packets_in", json_integer((json_int_t)c->packets_in));
    json_object_set_new(o, "bytes_in", json_integer((json_int_t)c->bytes_in));
    json_object_set_new(o, "packets_out", json_integer((json_int_t)c->packets_out));
    json_object_set_new(o, "bytes_out", json_integer((json_int_t)c->bytes_out));
    json_object_set_new(o, "drops", json_drops(c));
}

static void set_versions(json_t *o, struct crypto *crypto)
{
    struct crypto_versions v;
    crypto_versions(crypto, &v);
    json_object_set_new(o, "version", json_string(ADIT_VERSION));
    json_object_set_new(o, "libraries",
                        json_pack("{s:s, s:b, s:s, s:s, s:s, s:s?}", "openssl", v.openssl, "ml_kem", v.ml_kem, "sodium",
                                  v.sodium, "esp", v.esp_gcm, "esp_hmac", v.esp_hmac, "ipsec_mb", v.ipsec_mb));
}

static bool tunnel_up(const struct report_source *s, uint32_t tunnel, const struct dp_tunnel_info *info)
{
    return info->sendable && s->handles->accounts[s->handles->tunnels[tunnel].account].open;
}

static json_t *json_tunnel_counts(const struct report_source *s)
{
    json_int_t n[2] = {0, 0}, up = 0;
    for (uint32_t i = 0; i < s->handles->n_tunnels; i++) {
        struct dp_tunnel_info info;
        if (!s->handles->tunnels[i].row || !dp_tunnel_info(s->dp, i, &info))
            continue;
        n[s->handles->tunnels[i].row->type == TUNNEL_IPSEC]++;
        up += tunnel_up(s, i, &info);
    }
    return json_pack("{s:I, s:I, s:I, s:I}", "configured", n[0] + n[1], "up", up, "gre", n[0], "ipsec", n[1]);
}

/* About the host and the start, then what is amiss with accounts now. */
static json_t *json_warnings(const struct report_source *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_warnings; i++)
        json_array_append_new(list, json_string(s->warnings[i].text));
    for (uint32_t i = 0; i < s->handles->n_accounts; i++) {
        const struct config_account *row = s->handles->accounts[i].row;
        if (row && !s->handles->accounts[i].open)
            json_array_append_new(list,
                                  json_sprintf("account %s: device %s is not there%s%s; the log says why",
                                               config_account_label(row), row->device,
                                               row->netns ? ", network namespace " : "", row->netns ? row->netns : ""));
    }
    return list;
}

json_t *report_status(const struct report_source *s)
{
    json_t *o = json_object(), *endpoints = json_array(), *ike = json_object();
    struct dp_counters total;
    struct ike_sa_info sa;
    char host[HOST_NAME_MAX + 1] = "";
    (void)gethostname(host, sizeof host); /* Linux's are never longer */
    json_int_t established = 0, half_open = 0, children = 0;
    dp_total_info(s->dp, &total);
    for (size_t c = ike_sa_next(s->ike, 0, &sa); c; c = ike_sa_next(s->ike, c, &sa)) {
        *(sa.established ? &established : &half_open) += 1;
        children += sa.children;
    }
    for (unsigned c = 0; c < IKE_COUNT_END; c++)
        json_object_set_new(ike, ike_count_name(c), json_integer((json_int_t)ike_count(s->ike, c)));
    for (size_t i = 0; i < s->config->endpoints.n; i++)
        json_array_append_new(endpoints, json_addr(&s->config->endpoints.v[i]));
    set_versions(o, s->crypto);
    json_object_set_new(o, "node", json_string(s->config->node.name ? s->config->node.name : host));
    json_object_set_new(o, "uptime_s", json_integer(age_of(s->now, s->started)));
    json_object_set_new(o, "endpoints", endpoints);
    json_object_set_new(o, "tunnels", json_tunnel_counts(s));
    json_object_set_new(o, "ike_sas", json_integer(established));
    json_object_set_new(o, "half_open", json_integer(half_open));
    json_object_set_new(o, "child_sas", json_integer(children));
    set_counters(o, &total);
    json_object_set_new(o, "ike", ike);
    json_object_set_new(o, "warnings", json_warnings(s));
    return o;
}

/* The newest established IKE SA of each tunnel: it tells the suite and the peer's address. spi_r 0: none. */
static struct ike_sa_info *newest_sas(const struct report_source *s)
{
    struct ike_sa_info sa, *newest = calloc(s->handles->n_tunnels + 1, sizeof *newest);
    if (!newest)
        return NULL;
    for (size_t c = ike_sa_next(s->ike, 0, &sa); c; c = ike_sa_next(s->ike, c, &sa))
        if (sa.established && sa.tunnel < s->handles->n_tunnels &&
            (!newest[sa.tunnel].spi_r || sa.since > newest[sa.tunnel].since))
            newest[sa.tunnel] = sa;
    return newest;
}

static void set_ike_state(json_t *o, const struct report_source *s, uint32_t tunnel, const struct ike_sa_info *sa)
{
    struct ike_failure failure;
    json_object_set_new(o, "suite", sa->spi_r ? json_suite(&sa->suite) : json_null());
    json_object_set_new(o, "post_quantum", json_boolean(sa->spi_r && sa->established_pq));
    json_object_set_new(o, "peer", sa->spi_r ? json_endpoint(&sa->path.remote) : json_null());
    if (ike_last_failure(s->ike, tunnel, &failure))
        json_object_set_new(o, "last_failure",
                            json_pack("{s:s, s:I}", "text", failure.text, "age_s", age_of(s->now, failure.at)));
}

static json_t *json_tunnel(const struct report_source *s, uint32_t tunnel, const struct ike_sa_info *sa)
{
    const struct config_tunnel *row = s->handles->tunnels[tunnel].row;
    struct dp_tunnel_info info = {.mtu = 0};
    bool up = dp_tunnel_info(s->dp, tunnel, &info) && tunnel_up(s, tunnel, &info);
    json_t *o = json_object();
    json_object_set_new(o, "account", json_string(config_account_label(row->account)));
    json_object_set_new(o, "name", json_string(row->name));
    json_object_set_new(o, "type", json_string(row->type == TUNNEL_IPSEC ? "ipsec" : "gre"));
    json_object_set_new(o, "state", json_string(up ? "up" : "down"));
    json_object_set_new(o, "endpoint", json_addr(&row->endpoint));
    json_object_set_new(o, "customer_endpoint", json_addr(&row->customer_endpoint));
    json_object_set_new(o, "interface_address", json_prefix(&row->interface_address));
    json_object_set_new(o, "interface_address6", json_prefix(&row->interface_address6));
    if (row->type == TUNNEL_IPSEC)
        set_ike_state(o, s, tunnel, sa);
    json_object_set_new(o, "mtu", json_integer(info.mtu));
    json_object_set_new(o, "mss", json_integer(info.mss4));
    json_object_set_new(o, "mss4", json_integer(info.mss4));
    json_object_set_new(o, "mss6", json_integer(info.mss6));
    json_object_set_new(o, "path_mtu", json_integer(info.path_mtu));
    json_object_set_new(o, "last_in_s", json_integer(age_of(s->now, info.last_in)));
    set_counters(o, &info.counters);
    return o;
}

json_t *report_tunnels(const struct report_source *s, uint32_t only)
{
    struct ike_sa_info *newest = newest_sas(s);
    json_t *list = json_array();
    for (uint32_t i = 0; newest && i < s->handles->n_tunnels; i++)
        if (s->handles->tunnels[i].row && (only == TUNNEL_NONE || only == i))
            json_array_append_new(list, json_tunnel(s, i, &newest[i]));
    free(newest);
    return json_pack("{s:o}", "tunnels", list);
}

static json_t *json_ike_sa(const struct report_source *s, const struct ike_sa_info *sa)
{
    char tunnel[136], spi_i[20], spi_r[20];
    snprintf(spi_i, sizeof spi_i, "%016" PRIx64, sa->spi_i);
    snprintf(spi_r, sizeof spi_r, "%016" PRIx64, sa->spi_r);
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:o, s:o, s:b, s:b, s:I, s:i}", "tunnel",
                     handles_tunnel_text(s->handles, sa->tunnel, tunnel), "state", sa->state, "spi_i", spi_i, "spi_r",
                     spi_r, "suite", json_suite(&sa->suite), "post_quantum", sa->established_pq, "local",
                     json_endpoint(&sa->path.local), "remote", json_endpoint(&sa->path.remote), "nat",
                     sa->nat_peer || sa->nat_local, "fragmentation", sa->fragmentation, "age_s",
                     age_of(s->now, sa->since), "children", (int)sa->children);
}

static json_t *json_child(const struct report_source *s, const struct ike_child_info *child)
{
    char tunnel[136], in[12], out[12], ike_spi[20];
    struct dp_sa_info dp = {.packets_in = 0};
    dp_sa_info(s->dp, child->spi_in, &dp);
    snprintf(in, sizeof in, "%08" PRIx32, child->spi_in);
    snprintf(out, sizeof out, "%08" PRIx32, child->spi_out);
    snprintf(ike_spi, sizeof ike_spi, "%016" PRIx64, child->ike_spi_r);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:I}", "tunnel",
                  handles_tunnel_text(s->handles, child->tunnel, tunnel), "spi_in", in, "spi_out", out, "ike_spi_r",
                  ike_spi, "suite", json_suite(&child->suite), "local_ts", json_ts(&child->ts_local), "remote_ts",
                  json_ts(&child->ts_remote), "local", json_endpoint(&child->path.local), "remote",
                  json_endpoint(&child->path.remote), "udp", child->udp, "age_s", age_of(s->now, child->since));
    json_t *counts = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:b}", "packets_in",
                               (json_int_t)dp.packets_in, "bytes_in", (json_int_t)dp.bytes_in, "packets_out",
                               (json_int_t)dp.packets_out, "bytes_out", (json_int_t)dp.bytes_out, "seq_in",
                               (json_int_t)dp.seq_in, "seq_out", (json_int_t)dp.seq_out, "replay_drops",
                               (int)dp.replay_drops, "integrity_drops", (int)dp.integrity_drops, "mtu", (int)dp.mtu,
                               "mss4", (int)dp.mss4, "mss6", (int)dp.mss6, "sending", dp.sending);
    json_object_update(o, counts);
    json_decref(counts);
    return o;
}

json_t *report_sas(const struct report_source *s, uint32_t only)
{
    json_t *ike = json_array(), *esp = json_array();
    struct ike_sa_info sa;
    struct ike_child_info child;
    for (size_t c = ike_sa_next(s->ike, 0, &sa); c; c = ike_sa_next(s->ike, c, &sa))
        if (only == TUNNEL_NONE || sa.tunnel == only)
            json_array_append_new(ike, json_ike_sa(s, &sa));
    for (size_t c = ike_child_next(s->ike, 0, &child); c; c = ike_child_next(s->ike, c, &child))
        if (only == TUNNEL_NONE || child.tunnel == only)
            json_array_append_new(esp, json_child(s, &child));
    return json_pack("{s:o, s:o}", "ike_sas", ike, "sas", esp);
}
