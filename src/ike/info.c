/* ike/info: what aditctl and metrics see of the SAs. A cursor is the table node last given, as a number.
 */
#include "engine.h"

static bool visible(const struct ike_sa *sa)
{
    return sa->state != IKE_STATE_NEW && sa->state != IKE_STATE_ENDED;
}

size_t ike_sa_next(const struct ike *ike, size_t cursor, struct ike_sa_info *ret)
{
    struct map_node *n = map_walk(&ike->sas, (const struct map_node *)cursor);
    while (n && !visible(CONTAINER_OF(n, struct ike_sa, by_spi)))
        n = map_walk(&ike->sas, n);
    if (!n)
        return 0;
    const struct ike_sa *sa = CONTAINER_OF(n, struct ike_sa, by_spi);
    bool established = sa->tunnel != NULL;
    *ret = (struct ike_sa_info){
        .spi_i = sa->spi_i,
        .spi_r = sa->spi_r,
        .tunnel = sa->tunnel_handle,
        .state = ike_state_name(sa->state),
        .suite = sa->suite,
        .path = sa->path,
        .nat_peer = sa->nat_peer,
        .nat_local = sa->nat_local,
        .fragmentation = sa->fragmentation,
        .established_pq = established && ike_sa_is_pq(sa),
        .since = established ? sa->established : sa->created,
        .established = established,
        .children = sa->n_children,
    };
    return (size_t)n;
}

size_t ike_child_next(const struct ike *ike, size_t cursor, struct ike_child_info *ret)
{
    struct map_node *n = map_walk(&ike->children, (const struct map_node *)cursor);
    while (n && list_empty(&CONTAINER_OF(n, struct ike_child, by_spi)->of_sa)) /* not installed yet */
        n = map_walk(&ike->children, n);
    if (!n)
        return 0;
    const struct ike_child *child = CONTAINER_OF(n, struct ike_child, by_spi);
    *ret = (struct ike_child_info){
        .tunnel = child->sa->tunnel_handle,
        .spi_in = child->spi_in,
        .spi_out = child->spi_out,
        .ike_spi_r = child->sa->spi_r,
        .suite = child->suite,
        .ts_local = child->ts_local,
        .ts_remote = child->ts_remote,
        .path = child->sa->path,
        .udp = child->udp,
        .since = child->since,
    };
    return (size_t)n;
}

bool ike_last_failure(const struct ike *ike, uint32_t tunnel, struct ike_failure *ret)
{
    const struct ike_tunnel *t = ike_tunnel_get(ike, tunnel);
    if (!t || !t->failure.text[0])
        return false;
    *ret = t->failure;
    return true;
}
