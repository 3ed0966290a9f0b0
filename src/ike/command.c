/* ike/command: what the daemon tells the engine. A command that could need more room for actions than is left answers RC_LIMIT
 * and changes nothing: execute the actions, then give it again.
 */
#include "engine.h"

static enum rc tunnel_command(struct ike_turn *t, const struct ike_cmd *cmd)
{
    struct ike_tunnel *tunnel = ike_tunnel_get(t->ike, cmd->handle);
    if (!tunnel)
        return RC_ABSENT;
    if (cmd->type == IKE_CMD_TUNNEL_REMOVE)
        ike_tunnel_remove(t, tunnel);
    else
        ike_tunnel_reset(t, tunnel);
    return RC_OK;
}

/* What dp noticed of an SA. What the peer must be told it is told now, or as soon as it has answered what we asked before. */
static enum rc child_command(struct ike_turn *t, const struct ike_cmd *cmd)
{
    struct ike_child *child = ike_child_find(t->ike, cmd->spi_in);
    if (!child || list_empty(&child->of_sa))
        return RC_ABSENT;
    if (cmd->type == IKE_CMD_ESP_SEEN)
        ike_sa_heard(t, child->sa);
    else if (cmd->type == IKE_CMD_ESP_MOVED)
        ike_move_nominate(t, child->sa, cmd->path);
    else if (cmd->type == IKE_CMD_ESP_LOST || child->replaced)
        child->expiring = true;
    else
        child->rekey_due = true;
    ike_request_next(t, child->sa);
    return RC_OK;
}

/* All SAs become due at once; ike_tick() takes them down as fast as actions are executed. Half-open ones just go. */
static void shut_down(struct ike_turn *t)
{
    struct ike *ike = t->ike;
    for (struct map_node *n = map_walk(&ike->sas, NULL), *next; n; n = next) {
        struct ike_sa *sa = CONTAINER_OF(n, struct ike_sa, by_spi);
        next = map_walk(&ike->sas, n);
        sa->doomed = true;
        if (sa->state == IKE_STATE_ESTABLISHED || sa->state == IKE_STATE_REPLACED)
            (void)ike_timer_set(ike, &sa->timer, t->now); /* armed already: moving cannot fail */
        else if (sa->source[SCOPE_HOST] || sa->state == IKE_STATE_ENDED)
            ike_sa_free(ike, sa);
    }
    ike_tick(ike, t->now, t->acts);
}

static void set_policy(struct ike_turn *t, const struct ike_policy *policy)
{
    bool timers =
        policy->dpd_interval != t->ike->policy.dpd_interval || policy->nat_keepalive != t->ike->policy.nat_keepalive;
    t->ike->policy = *policy;
    ike_cookie_secret(&t->ike->cookies, policy->cookie_secret, t->ike->rng);
    for (struct map_node *n = timers ? map_walk(&t->ike->sas, NULL) : NULL; n; n = map_walk(&t->ike->sas, n))
        ike_sa_rearm(t, CONTAINER_OF(n, struct ike_sa, by_spi));
}

enum rc ike_command(struct ike *ike, uint64_t now, const struct ike_cmd *cmd, struct acts *ret)
{
    struct ike_turn t = {ike, now, ret};
    if (!ike_acts_room(&t))
        return RC_LIMIT;
    switch (cmd->type) {
    case IKE_CMD_TUNNEL_SET: return ike_tunnel_set(&t, cmd->tunnel);
    case IKE_CMD_TUNNEL_REMOVE:
    case IKE_CMD_TUNNEL_RESET: return tunnel_command(&t, cmd);
    case IKE_CMD_POLICY: set_policy(&t, cmd->policy); return RC_OK;
    case IKE_CMD_ESP_SEEN:
    case IKE_CMD_ESP_EXPIRE:
    case IKE_CMD_ESP_LOST:
    case IKE_CMD_ESP_MOVED: return child_command(&t, cmd);
    case IKE_CMD_SHUTDOWN: shut_down(&t); return RC_OK;
    }
    return RC_RANGE;
}
