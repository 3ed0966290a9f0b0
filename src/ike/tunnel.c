/* ike/tunnel: what the configuration says about peers: identities, secrets, selectors, and the local addresses that serve.
 */
#include "engine.h"
#include "proposal.h"

#include <stdio.h>
#include <stdlib.h>

struct ike_tunnel *ike_tunnel_get(const struct ike *ike, uint32_t handle)
{
    return handle < ike->n_tunnels ? ike->tunnels[handle] : NULL;
}

/* ---- local addresses */

static struct ike_endpoint *find_endpoint(const struct ike *ike, const struct addr *a)
{
    for (struct map_node *n = map_first(&ike->endpoints, ike_hash_addr(ike, a)); n; n = map_next(n)) {
        struct ike_endpoint *e = CONTAINER_OF(n, struct ike_endpoint, node);
        if (addr_equal(&e->addr, a))
            return e;
    }
    return NULL;
}

bool ike_endpoint_known(const struct ike *ike, const struct addr *local)
{
    return find_endpoint(ike, local) != NULL;
}

/* One tunnel that wants it is enough: which one is meant is known only at IKE_AUTH. */
bool ike_endpoint_pq(const struct ike *ike, const struct addr *local)
{
    const struct ike_endpoint *e = find_endpoint(ike, local);
    return e && e->pq;
}

static enum rc hold_endpoint(struct ike *ike, const struct addr *a, enum pq_mode pq)
{
    struct ike_endpoint *e = find_endpoint(ike, a);
    if (!e) {
        e = calloc(1, sizeof *e);
        if (!e || map_insert(&ike->endpoints, &e->node, ike_hash_addr(ike, a)) != RC_OK) {
            free(e);
            return RC_NOMEM;
        }
        e->addr = *a;
    }
    e->refs++;
    e->pq += pq != PQ_OFF;
    return RC_OK;
}

static void release_endpoint(struct ike *ike, const struct addr *a, enum pq_mode pq)
{
    struct ike_endpoint *e = find_endpoint(ike, a);
    if (!e)
        return;
    e->pq -= pq != PQ_OFF;
    if (--e->refs)
        return;
    map_remove(&ike->endpoints, &e->node);
    free(e);
}

/* ---- identities: the key is (identity, local address) */

static uint64_t hash_identity(const struct ike *ike, const struct addr *local, uint8_t type, struct span data)
{
    uint8_t key[1 + 16 + IDENTITY_MAX];
    struct wr w = wr_of(key, sizeof key);
    wr_u8(&w, type);
    wr_bytes(&w, span_of(local->b, sizeof local->b));
    wr_bytes(&w, data);
    return ike_hash(ike, wr_span(&w));
}

static struct ike_identity *find_identity(const struct ike *ike, const struct addr *local, uint8_t type,
                                          struct span data, uint64_t hash)
{
    for (struct map_node *n = map_first(&ike->identities, hash); n; n = map_next(n)) {
        struct ike_identity *id = CONTAINER_OF(n, struct ike_identity, node);
        if (id->type == type && span_equal(span_of(id->data, id->n), data) && addr_equal(&id->tunnel->endpoint, local))
            return id;
    }
    return NULL;
}

struct ike_tunnel *ike_tunnel_by_identity(const struct ike *ike, const struct addr *local, uint8_t type,
                                          struct span data)
{
    if (data.n > IDENTITY_MAX)
        return NULL;
    const struct ike_identity *id = find_identity(ike, local, type, data, hash_identity(ike, local, type, data));
    return id ? id->tunnel : NULL;
}

static void drop_identity(struct ike *ike, struct ike_identity *id)
{
    struct ike_tunnel *tunnel = id->tunnel;
    uint8_t i = 0;
    while (tunnel->identities[i] != id)
        i++;
    tunnel->identities[i] = tunnel->identities[--tunnel->n_identities];
    map_remove(&ike->identities, &id->node);
    free(id);
}

/* From another tunnel it is taken away: that one is to be set, too, or removed. Its SAs are looked at then. */
static enum rc add_identity(struct ike *ike, struct ike_tunnel *tunnel, const struct identity *from)
{
    struct span data = span_of(from->data, from->n);
    if (from->n > IDENTITY_MAX)
        return RC_RANGE;
    uint64_t hash = hash_identity(ike, &tunnel->endpoint, from->type, data);
    struct ike_identity *held = find_identity(ike, &tunnel->endpoint, from->type, data, hash);
    struct ike_identity *id = calloc(1, sizeof *id + from->n);
    if (!id)
        return RC_NOMEM;
    id->tunnel = tunnel;
    id->type = from->type;
    id->n = from->n;
    memcpy(id->data, from->data, from->n); /* lint: not wire bytes: from the configuration */
    if (map_insert(&ike->identities, &id->node, hash) != RC_OK) {
        free(id);
        return RC_NOMEM;
    }
    if (held && held->tunnel->handle != tunnel->handle) /* its own older version may still be there */
        drop_identity(ike, held);
    tunnel->identities[tunnel->n_identities++] = id;
    return RC_OK;
}

/* ---- a tunnel's policy, copied */

static enum rc copy_policy(struct ike *ike, const struct tunnel_policy *p, struct ike_tunnel *tunnel)
{
    tunnel->endpoint = p->endpoint;
    tunnel->customer_endpoint = p->customer_endpoint;
    tunnel->gre_remote = p->gre_remote;
    tunnel->local_identity = p->local_identity;
    if (!tunnel->local_identity.type) { /* RFC 7296 3.5: then the address itself is who we are */
        struct identity *us = &tunnel->local_identity;
        struct wr w = wr_of(us->data, sizeof us->data);
        wr_bytes(&w, span_of(p->endpoint.b, addr_size(&p->endpoint)));
        us->type = p->endpoint.family == 6 ? ID_IPV6_ADDR : ID_IPV4_ADDR;
        us->n = (uint16_t)wr_len(&w);
    }
    tunnel->pq = p->pq;
    tunnel->ike = p->ike;
    tunnel->esp = p->esp;
    tunnel->strict_peer = p->strict_peer;
    tunnel->allow_null_cipher = p->allow_null_cipher;
    if (p->n_ts_local > ARRAY_LEN(p->ts_local) || p->n_ts_remote > ARRAY_LEN(p->ts_remote) || p->n_psks > TUNNEL_PSKS ||
        p->n_identities > TUNNEL_IDENTITIES || p->local_identity.n > IDENTITY_MAX)
        return RC_RANGE;
    for (uint8_t i = 0; i < p->n_ts_local; i++)
        tunnel->ts_local[tunnel->n_ts_local++] = p->ts_local[i];
    for (uint8_t i = 0; i < p->n_ts_remote; i++)
        tunnel->ts_remote[tunnel->n_ts_remote++] = p->ts_remote[i];

    enum rc rc = hold_endpoint(ike, &p->endpoint, p->pq);
    if (rc)
        return rc;
    for (uint8_t i = 0; i < p->n_psks && rc == RC_OK; i++) {
        struct ike_psk *psk = &tunnel->psks[tunnel->n_psks];
        psk->not_after = p->psks[i].not_after;
        rc = buf_set(&psk->value, p->psks[i].value);
        tunnel->n_psks += rc == RC_OK;
    }
    for (uint8_t i = 0; i < p->n_identities && rc == RC_OK; i++)
        rc = add_identity(ike, tunnel, &p->identities[i]);

    const char *account = p->account_name ? p->account_name : "", *name = p->name ? p->name : "";
    size_t n = strlen(account) + 1 + strlen(name) + 1;
    tunnel->name = malloc(n);
    if (tunnel->name)
        snprintf(tunnel->name, n, "%s/%s", account, name);
    else if (rc == RC_OK)
        rc = RC_NOMEM;
    if (rc)
        release_endpoint(ike, &p->endpoint, p->pq);
    return rc;
}

static void drop_policy(struct ike *ike, struct ike_tunnel *tunnel)
{
    while (tunnel->n_identities > 0)
        drop_identity(ike, tunnel->identities[tunnel->n_identities - 1]);
    for (uint8_t i = 0; i < tunnel->n_psks; i++)
        buf_free(&tunnel->psks[i].value);
    free(tunnel->name);
    tunnel->name = NULL;
    tunnel->n_psks = tunnel->n_ts_local = tunnel->n_ts_remote = 0;
}

void ike_tunnel_free(struct ike *ike, struct ike_tunnel *tunnel)
{
    ike->tunnels[tunnel->handle] = NULL;
    drop_policy(ike, tunnel);
    release_endpoint(ike, &tunnel->endpoint, tunnel->pq);
    free(tunnel);
}

static enum rc make_slot(struct ike *ike, uint32_t handle)
{
    if (handle >= IKE_HANDLE_MAX)
        return RC_RANGE;
    if (handle < ike->n_tunnels)
        return RC_OK;
    size_t n = ike->n_tunnels ? ike->n_tunnels : 16;
    while (n <= handle)
        n *= 2;
    struct ike_tunnel **v = realloc(ike->tunnels, n * sizeof(struct ike_tunnel *));
    if (!v)
        return RC_NOMEM;
    for (size_t i = ike->n_tunnels; i < n; i++)
        v[i] = NULL;
    ike->tunnels = v;
    ike->n_tunnels = n;
    return RC_OK;
}

/* ---- what a change means for running SAs */

void ike_psk_digest(const struct ike *ike, struct span psk, uint8_t ret[IKE_PSK_DIGEST])
{
    crypto_mac(ike->digest_key, &psk, 1, ret);
}

static bool any_transport(const struct ike_sa *sa)
{
    for (const struct list *l = sa->children.next; l != &sa->children; l = l->next)
        if (CONTAINER_OF(l, struct ike_child, of_sa)->transport)
            return true;
    return false;
}

static bool still_allowed(const struct ike *ike, const struct ike_sa *sa, const struct ike_tunnel *now)
{
    bool identity = false, psk = false;
    for (uint8_t i = 0; i < now->n_identities; i++)
        identity |=
            now->identities[i]->type == sa->peer.type &&
            span_equal(span_of(now->identities[i]->data, now->identities[i]->n), span_of(sa->peer.data, sa->peer.n));
    for (uint8_t i = 0; i < now->n_psks; i++) {
        uint8_t digest[IKE_PSK_DIGEST];
        ike_psk_digest(ike, buf_span(&now->psks[i].value), digest);
        psk |= crypto_equal(span_of(digest, sizeof digest), span_of(sa->psk_digest, sizeof sa->psk_digest));
    }
    bool address = !now->strict_peer || addr_equal(&now->customer_endpoint, &sa->path.remote.addr);
    bool pq = now->pq != PQ_REQUIRE || ike_sa_is_pq(sa);
    bool suite = ike_proposal_allows(&now->ike, &sa->suite);
    return identity && psk && address && pq && suite && addr_equal(&now->endpoint, &sa->path.local.addr);
}

static bool same_identity(const struct identity *a, const struct identity *b)
{
    return a->type == b->type && span_equal(span_of(a->data, a->n), span_of(b->data, b->n));
}

enum rc ike_tunnel_set(struct ike_turn *t, const struct tunnel_policy *p)
{
    struct ike *ike = t->ike;
    struct ike_tunnel *old = ike_tunnel_get(ike, p->tunnel);
    if (p->type != TUNNEL_IPSEC) { /* GRE is none of our business; it may have been IPsec before */
        if (old)
            ike_tunnel_remove(t, old);
        return RC_OK;
    }
    enum rc rc = make_slot(ike, p->tunnel);
    if (rc)
        return rc;
    struct ike_tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (!tunnel)
        return RC_NOMEM;
    tunnel->handle = p->tunnel;
    list_init(&tunnel->sas);
    bucket_init(&tunnel->creates, IKE_CREATE_RATE, IKE_CREATE_BURST, t->now);

    rc = copy_policy(ike, p, tunnel);
    if (rc) {
        drop_policy(ike, tunnel);
        free(tunnel);
        return rc;
    }
    if (!old) {
        ike->tunnels[p->tunnel] = tunnel;
        return RC_OK;
    }

    tunnel->failure = old->failure;
    tunnel->creates = old->creates;
    bool same_us = same_identity(&old->local_identity, &tunnel->local_identity);
    for (struct list *l = old->sas.next, *next; l != &old->sas; l = next) {
        struct ike_sa *sa = CONTAINER_OF(l, struct ike_sa, of_tunnel);
        next = l->next;
        bool same_gre = addr_equal(&old->gre_remote, &tunnel->gre_remote) || !any_transport(sa);
        if (!same_us || !same_gre || !still_allowed(ike, sa, tunnel)) {
            ike_sa_delete(t, sa, CHILD_DOWN_ADMIN);
            continue;
        }
        list_remove(l);
        list_push_back(&tunnel->sas, l);
        sa->tunnel = tunnel;
        tunnel->n_sas++;
        tunnel->n_children += sa->n_children;
    }
    ike_tunnel_free(ike, old);
    ike->tunnels[p->tunnel] = tunnel;
    return RC_OK;
}

void ike_tunnel_reset(struct ike_turn *t, struct ike_tunnel *tunnel)
{
    while (!list_empty(&tunnel->sas))
        ike_sa_delete(t, CONTAINER_OF(tunnel->sas.next, struct ike_sa, of_tunnel), CHILD_DOWN_ADMIN);
}

void ike_tunnel_remove(struct ike_turn *t, struct ike_tunnel *tunnel)
{
    ike_tunnel_reset(t, tunnel);
    ike_tunnel_free(t->ike, tunnel);
}
