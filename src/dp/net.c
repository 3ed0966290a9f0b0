/* From the network: a batch of outer packets, in passes. What the look-ups will touch is fetched for all of them together; then
 * headers and look-ups, then all ESP in one call of the cipher, then what needs plaintext; the packets leave in the order they came. */
#include "worker.h"

#define AHEAD 3 /* packets */

/* ---- fetching what the packets will need ------------------------------------------------------- */

struct goal { /* an SPI or endpoint pair, for the packets of it that follow each other */
    const struct pkt *p;
    struct sa *sa;   /* ESP */
    uint32_t tunnel; /* TUNNEL_NONE: not known */
    size_t slot;
    bool esp;
};

static bool is_esp(const struct pkt *p)
{
    return p->from == PKT_FROM_ESP || p->from == PKT_FROM_NATT;
}

/* Does the packet need something else than the one before it? */
static bool differs(const struct pkt *p, const struct pkt *before)
{
    if (p->from != before->from)
        return true;
    if (is_esp(p))
        return load_be32(p->data) != load_be32(before->data);
    return !addr_same(&p->outer.src, &before->outer.src) || !addr_same(&p->outer.dst, &before->outer.dst);
}

static size_t goals_of(const struct batch *b, struct pkt **v, size_t n, struct goal *goal)
{
    const struct sa_index *x = SEE(b->w->dp->by_in);
    const struct pkt *before = NULL;
    size_t k = 0;
    for (size_t i = 0; i < n && i < AHEAD; i++)
        prefetch(v[i]->data, 1);
    for (size_t i = 0; i < n; i++) {
        const struct pkt *p = v[i];
        if (i + AHEAD < n)
            prefetch(v[i + AHEAD]->data, 1);
        bool esp = is_esp(p);
        if (esp ? p->len < ESP_HEADER : p->from != PKT_FROM_GRE || p->outer.src.family != p->outer.dst.family)
            continue;
        if (before && !differs(p, before))
            continue;
        before = p;
        goal[k] = (struct goal){.p = p, .esp = esp, .tunnel = TUNNEL_NONE};
        goal[k].slot = esp ? sa_slot(x, load_be32(p->data)) : gre_slot(b->t->gre, &p->outer.dst, &p->outer.src);
        prefetch(esp ? (const void *)&x->slot[goal[k].slot] : (const void *)&b->t->gre->slot[goal[k].slot], 1);
        k++;
    }
    return k;
}

static void fetch_sas(const struct batch *b, struct goal *goal, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (goal[i].esp) {
            goal[i].sa = sa_find_in(SEE(b->w->dp->by_in), load_be32(goal[i].p->data));
            if (goal[i].sa)
                prefetch(goal[i].sa, 2 * LINE);
        }
}

static void fetch_tunnels(const struct batch *b, struct goal *goal, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct goal *g = &goal[i];
        const struct sa *sa = g->sa;
        if (sa) {
            g->tunnel = sa->tunnel;
            prefetch(&sa->window.word[load_be32(g->p->data + 4) >> 6 & sa->window.mask], 1);
            prefetch(sa->key_in, 1);
        } else if (!g->esp)
            g->tunnel = b->t->gre->slot[g->slot] - 1; /* 0: TUNNEL_NONE */
        if (g->tunnel < b->t->n_tun)
            prefetch(&b->t->tun[g->tunnel], 1);
        if (!g->esp && g->tunnel < b->t->n_tun)
            prefetch(&b->w->count[g->tunnel], 1);
    }
    for (size_t i = 0; i < n; i++)
        if (goal[i].tunnel < b->t->n_tun)
            prefetch(b->t->tun[goal[i].tunnel], goal[i].esp ? LINE : 2 * LINE);
}

/* ---- the batch ---------------------------------------------------------------------------------- */

static void take(struct batch *b, struct pkt *p)
{
    switch ((enum pkt_from)p->from) {
    case PKT_FROM_GRE: gre_in(b, p); return;
    case PKT_FROM_ESP:
    case PKT_FROM_NATT: esp_in_begin(b, p); return;
    case PKT_FROM_ICMP: pmtu_in(b, p); return;
    case PKT_FROM_TUN: break;
    }
    batch_drop(b, p, NULL, DP_REASON_SHORT); /* io's mistake, not a peer's */
}

static void run(struct batch *b, struct pkt **v, size_t n)
{
    struct goal goal[PKT_BATCH];
    size_t n_goals = goals_of(b, v, n, goal);
    if (n_goals > 1) {
        fetch_sas(b, goal, n_goals);
        fetch_tunnels(b, goal, n_goals);
    }
    for (size_t i = 0; i < n; i++)
        take(b, v[i]);
    if (b->n_jobs > 0)
        esp_in_finish(b);
    if (b->coalesce && n > 1)
        n = coalesce(b, v, n);
    for (size_t i = 0; i < n; i++)
        batch_emit(b, v[i]);
}

void dp_from_net(struct dp_worker *w, uint64_t now, struct pkt **v, size_t n, struct pkt_pool *pool,
                 struct pkt_list *ret)
{
    struct batch b;
    batch_begin(&b, w, now, pool, ret);
    for (size_t i = 0; i < n; i += PKT_BATCH)
        run(&b, v + i, n - i < PKT_BATCH ? n - i : PKT_BATCH);
}
