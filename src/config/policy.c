/* policy: rows -> the plain values that ike and dp obey. Texts, secrets and sources stay the configuration's. */
#include "loader.h"

#define PATH_MTU 1500 /* of the outer path until an ICMP message proves less */
/* Not worth a key each. */

static struct ts any_address(uint8_t family)
{
    struct ts ts = {.port_last = UINT16_MAX, .first.family = family, .last.family = family};
    for (size_t i = 0; i < addr_size(&ts.last); i++)
        ts.last.b[i] = 0xff;
    return ts;
}

/* ---- proposals */

static uint8_t set_numbers(uint16_t *ret, const struct config_choices *c, enum type_id type)
{
    for (uint8_t i = 0; i < c->n; i++)
        ret[i] = config_types[type].words[c->v[i]].number;
    return c->n;
}

static uint8_t set_ciphers(struct encr_choice *ret, const struct config_choices *c, enum type_id type)
{
    for (uint8_t i = 0; i < c->n; i++) {
        const struct word *w = &config_types[type].words[c->v[i]];
        ret[i] = (struct encr_choice){.encr = w->number, .bits = w->bits};
    }
    return c->n;
}

static void set_proposals(const struct config_tunnel *t, struct tunnel_policy *ret)
{
    struct proposal_policy *p = &ret->ike;
    p->n_encr = set_ciphers(p->encr, &t->ike.encryption, TYPE_IKE_ENCR);
    p->n_integ = set_numbers(p->integ, &t->ike.integrity, TYPE_IKE_INTEG);
    p->n_prf = set_numbers(p->prf, &t->ike.prf, TYPE_IKE_PRF);
    p->n_ke = set_numbers(p->ke, &t->ike.key_exchange, TYPE_KE);
    p->n_addke = set_numbers(p->addke, &t->ike.additional_key_exchange, TYPE_ADDKE);
    p = &ret->esp;
    p->n_encr = set_ciphers(p->encr, &t->esp.encryption, TYPE_ESP_ENCR);
    p->n_integ = set_numbers(p->integ, &t->esp.integrity, TYPE_ESP_INTEG);
    p->n_ke = set_numbers(p->ke, &t->esp.key_exchange, TYPE_KE);
    p->n_addke = set_numbers(p->addke, &t->esp.additional_key_exchange, TYPE_ADDKE);
}

/* ---- tunnels */

static void set_ipsec(const struct config *c, const struct config_tunnel *t, struct tunnel_policy *p)
{
    p->n_identities = config_identities(c, t, p->identities);
    config_local_identity(c, t, &p->local_identity);
    for (size_t i = 0; i < t->psk.n && i < TUNNEL_PSKS; i++)
        p->psks[p->n_psks++] = (struct psk){.value = t->psk.v[i].value, .not_after = t->psk.v[i].not_after};
    p->pq = (enum pq_mode)t->pq;
    set_proposals(t, p);
    p->strict_peer = t->strict_peer;
    if (t->carries)
        p->gre_remote = t->carries->customer_endpoint;
    p->allow_null_cipher = t->allow_null_cipher;
    p->replay_protection = t->replay_protection;
    p->replay_window = t->replay_window;
    /* Route-based: everything may pass, and the peer narrows (RFC 7296 2.9). */
    p->ts_local[0] = p->ts_remote[0] = any_address(4);
    p->ts_local[1] = p->ts_remote[1] = any_address(6);
    p->n_ts_local = p->n_ts_remote = 2;
}

static void set_gre(const struct config_tunnel *t, uint32_t protect, struct tunnel_policy *p)
{
    p->has_key = t->row.set & CONFIG_BIT(CONFIG_TUNNEL_key);
    p->key = t->key;
    p->checksum = t->checksum;
    p->sequence = t->sequence;
    p->sequence_check = t->sequence_check;
    p->keepalive = t->keepalive;
    p->check_sources = true;
    p->sources = t->account->sources.v;
    p->n_sources = t->account->sources.n;
    p->allow_sources = t->allow_sources.v;
    p->n_allow_sources = t->allow_sources.n;
    p->protect = protect;
}

void config_tunnel_policy(const struct config *c, const struct config_tunnel *t, uint32_t tunnel, uint32_t account,
                          uint32_t protect, struct tunnel_policy *ret)
{
    *ret = (struct tunnel_policy){
        .tunnel = tunnel,
        .account = account,
        .type = (enum tunnel_type)t->type,
        .account_name = config_account_label(t->account),
        .name = t->name,
        .endpoint = t->endpoint,
        .customer_endpoint = t->customer_endpoint,
        .interface4 = t->interface_address,
        .interface6 = t->interface_address6,
        .df = (enum df_mode)t->outer.df,
        .dscp = (uint8_t)t->outer.dscp,
        .ecn = (enum ecn_mode)t->outer.ecn,
        .ttl = (uint8_t)t->ttl,
        .path_mtu = PATH_MTU,
        .mtu = (uint16_t)t->mtu,
        .mss = (uint16_t)t->mss,
        .protect = TUNNEL_NONE,
    };
    if (t->type == TUNNEL_GRE)
        set_gre(t, protect, ret);
    else
        set_ipsec(c, t, ret);
}

void config_route_policy(const struct config_route *r, uint32_t account, uint32_t tunnel, struct route_policy *ret)
{
    *ret = (struct route_policy){.account = account,
                                 .prefix = r->prefix,
                                 .tunnel = tunnel,
                                 .priority = r->priority,
                                 .weight = (uint16_t)r->weight};
}

/* ---- the daemon */

void config_ike_policy(const struct config *c, struct ike_policy *ret)
{
    const struct config_ike *k = &c->ike;
    *ret = (struct ike_policy){
        .half_open_timeout = k->half_open_timeout,
        .fragment_timeout = k->fragment_timeout,
        .ike_lifetime = k->ike_lifetime,
        .child_lifetime = k->child_lifetime,
        .jitter = (uint8_t)k->lifetime_jitter,
        .dpd_interval = k->dpd_interval,
        .nat_keepalive = k->nat_keepalive,
        .followup_timeout = k->followup_timeout,
        .retransmit_first = k->retransmit_first,
        .retransmit_tries = (uint8_t)k->retransmit_tries,
        .fragment_size = (uint16_t)k->fragment_size,
        .fragment_size_min = (uint16_t)k->fragment_size_min,
        .max_fragments = (uint16_t)k->max_fragments,
        .max_half_open = k->max_half_open,
        .cookie_threshold = k->cookie_threshold,
        .cookie_threshold_per_ip = k->cookie_threshold_per_ip,
        .cookie_threshold_per_prefix = k->cookie_threshold_per_prefix,
        .init_rate_per_ip = k->init_rate_per_ip,
        .handshakes_per_second = k->handshakes_per_second,
        .max_sas = k->max_sas,
        .max_children = k->max_children,
        .downgrade_protection = k->downgrade_protection,
    };
    struct wr secret = wr_of(ret->cookie_secret, sizeof ret->cookie_secret);
    wr_bytes(&secret, span_of(k->cookie_secret, sizeof k->cookie_secret));
    struct proposal_policy *p = &ret->ike;
    p->n_encr = set_ciphers(p->encr, &k->proposal.encryption, TYPE_IKE_ENCR);
    p->n_integ = set_numbers(p->integ, &k->proposal.integrity, TYPE_IKE_INTEG);
    p->n_prf = set_numbers(p->prf, &k->proposal.prf, TYPE_IKE_PRF);
    p->n_ke = set_numbers(p->ke, &k->proposal.key_exchange, TYPE_KE);
    p->n_addke = set_numbers(p->addke, &k->proposal.additional_key_exchange, TYPE_ADDKE);
    p = &ret->esp;
    p->n_encr = set_ciphers(p->encr, &k->child_proposal.encryption, TYPE_ESP_ENCR);
    p->n_integ = set_numbers(p->integ, &k->child_proposal.integrity, TYPE_ESP_INTEG);
    p->n_ke = set_numbers(p->ke, &k->child_proposal.key_exchange, TYPE_KE);
    p->n_addke = set_numbers(p->addke, &k->child_proposal.additional_key_exchange, TYPE_ADDKE);
}
