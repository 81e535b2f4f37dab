// option_hedge on one underlier, written by hand: the rule with calendar, band, gamma hedge and exposure, the book of
// cash, shares and second options, and the block statistics. W configurations are one vector; everything that a bar has
// in common for all configurations is a plain number, and whether an option is sold on it a plain branch.
//
// Built with W and KEPT(X), the sums that are returned: a sum that nobody asks for is never computed.

#include <cmath>
#include <cstdint>
#include <vector>

#define PLANES(X) \
    X(opens) X(live) X(first) X(days) X(growth) X(spot) X(dividend) X(capital) X(mark) X(next_mark) X(delivered) \
    X(delta) X(gamma) X(second_mark) X(second_next_mark) X(second_delta) X(second_gamma) X(daily_volatility)
#define PARAMETERS(X) X(exposure) X(hedge_ratio) X(rebalance_days) X(band) X(trade_to) X(gamma_hedge_ratio)
#define COSTS(X) X(fee) X(slippage) X(option_spread) X(linear_impact) X(square_root_impact) X(capital) X(adv)

namespace {

typedef double vec __attribute__((vector_size(8 * W)));
typedef int64_t mask __attribute__((vector_size(8 * W)));

constexpr double CLOCK = 1e-6, SMALLEST_ORDER = 1e-8;

inline vec all(double x) { return x - vec{}; }
inline vec size(vec x) { return (vec)((mask)x & INT64_MAX); }
inline vec count(mask m) { return m ? all(1.0) : vec{}; }
inline vec whole(vec x) { return __builtin_convertvector(__builtin_convertvector(x, mask), vec); }  // floor, of x >= 0
inline vec root(vec x) {
    for (int k = 0; k < W; ++k) x[k] = std::sqrt(x[k]);
    return x;
}
inline vec larger(vec a, vec b) { return a > b ? a : b; }
inline vec smaller(vec a, vec b) { return a < b ? a : b; }

struct Bar {  // one bar of one path: the same for every configuration
#define X(name) double name;
    PLANES(X)
#undef X
    double spot_gain, mark_gain, second_gain;  // since the bar before, of what was held into this one
};

struct Costs {
#define X(name) double name;
    COSTS(X)
#undef X
};

struct Parameters {
#define X(name) vec name;
    PARAMETERS(X)
#undef X
    vec per_day;  // 1 / rebalance_days
};

struct Book {
    vec cash{}, shares{}, second{}, value{}, impact{}, cycle_value{}, waited{};
};

struct Sums {
    vec r1{}, r2{}, r3{}, r4{}, losses{}, loss1{}, loss2{}, turnover{}, cost{}, gross{}, net{}, hedged{}, orders{};
    vec trades{}, wins{}, growth = all(1.0), peak = all(-INFINITY), trough = all(INFINITY), drawdown = all(-INFINITY);
    vec parts_option{}, parts_option2{}, parts_stock{}, parts_second{}, parts_stock_cost{}, parts_impact_cost{};
};

inline void step(const Bar& bar, const Costs& costs, const Parameters& p, Book& book, Sums& sums) {
    // the rule
    const double gamma_ratio = bar.second_gamma > 0.0 ? bar.gamma / bar.second_gamma : 0.0;
    const vec wanted_second = p.gamma_hedge_ratio * gamma_ratio;
    const vec target = p.hedge_ratio * bar.delta - wanted_second * bar.second_delta;
    const vec distance = target - book.shares;
    const vec edge = distance > 0.0 ? target - p.band : target + p.band;
    const vec waited = book.waited + bar.days;
    const mask due = waited >= p.rebalance_days - CLOCK;
    const bool opens = bar.opens > 0.0, turned = opens || bar.live < 1.0;
    const vec past = waited - p.rebalance_days * whole((waited + CLOCK) * p.per_day);
    const mask trade = turned ? ~mask{} : due & (size(distance) > p.band);
    const vec wanted = opens ? target : p.trade_to == 1.0 ? edge : target;

    // the option that was owed, and the second one beside it
    const vec held_shares = book.shares, held_second = book.second;
    vec cash = book.cash * bar.growth + book.shares * bar.dividend, option_cost{};
    if (turned) {
        book.shares -= bar.delivered;
        cash += held_second * bar.second_mark + (bar.delivered * bar.spot - bar.mark);
        book.second = vec{};
        const double bought_back = bar.delivered == 0.0 ? std::fabs(bar.mark) : 0.0;
        option_cost = costs.option_spread * (size(held_second) * bar.second_mark + bought_back);
    }
    const vec settled = cash + book.shares * bar.spot;
    if (opens) {
        cash += bar.next_mark;
        option_cost += costs.option_spread * std::fabs(bar.next_mark);
    }

    // the hedge
    const vec bought = trade ? wanted * bar.live - book.shares : vec{};
    const vec more = trade ? wanted_second * bar.live - book.second : vec{};
    const vec dollars = size(bought) * bar.spot;
    vec impact{};
    if (costs.linear_impact > 0.0 || costs.square_root_impact > 0.0) {
        const vec traded = dollars * p.exposure * (costs.capital / (opens ? bar.spot : bar.capital));
        const double square_root = costs.square_root_impact * bar.daily_volatility;
        impact = dollars * (costs.linear_impact * traded + square_root * root(traded * (1.0 / costs.adv)));
    }
    option_cost += costs.option_spread * bar.second_next_mark * size(more);
    const vec cost = option_cost + (costs.fee + costs.slippage) * dollars + impact;
    book.shares += bought;
    book.second += more;
    book.cash = cash - bought * bar.spot - more * bar.second_next_mark - cost;
    const vec exposed = book.shares * bar.spot;
    const vec value = book.cash + exposed - bar.next_mark + book.second * bar.second_next_mark;

    // what it returns; what was traded on the first bar counts in the second
    vec gained = value, paid = cost, turned_over = dollars, impact_paid = impact, orders = count(size(bought) >= SMALLEST_ORDER);
    if (bar.first > 0.0) {
        paid -= book.value;
        turned_over += size(held_shares) * bar.capital;
        impact_paid += book.impact;
        orders += count(size(held_shares) >= SMALLEST_ORDER);
    } else {
        gained -= book.value;
    }
    const vec per_capital = p.exposure * (1.0 / bar.capital);
    const vec r = gained * per_capital, square = r * r, loss = smaller(r, vec{});
    sums.r1 += r;
    sums.r2 += square;
    sums.r3 += square * r;
    sums.r4 += square * square;
    sums.losses += count(r < 0.0);
    sums.loss1 += loss;
    sums.loss2 += loss * loss;
    sums.turnover += turned_over * per_capital;
    sums.cost += paid * per_capital;
    sums.gross += size(exposed) * per_capital;
    sums.net += exposed * per_capital;
    sums.hedged += count(size(book.shares) >= SMALLEST_ORDER);
    sums.orders += orders;
    if (turned) {
        sums.trades += 1.0;
        sums.wins += count((bar.live > 0.0 ? settled : value) > book.cycle_value);
    }
    sums.growth *= 1.0 + r;
    sums.peak = larger(sums.growth, sums.peak);
    sums.trough = smaller(sums.growth, sums.trough);
    sums.drawdown = larger(1.0 - sums.growth / sums.peak, sums.drawdown);
    const vec option = -bar.mark_gain * per_capital;
    sums.parts_option += option;
    sums.parts_option2 += option * option;
    sums.parts_stock += held_shares * bar.spot_gain * per_capital;
    sums.parts_second += held_second * bar.second_gain * per_capital;
    sums.parts_stock_cost += (costs.fee + costs.slippage) * turned_over * per_capital;
    sums.parts_impact_cost += impact_paid * per_capital;

    book.value = value;
    book.impact = impact;
    book.cycle_value = turned ? settled : book.cycle_value;
    book.waited = opens ? vec{} : due ? past : waited;
}

inline Bar bar_of(const double* const* planes, long at, const Bar* before) {
    Bar bar;
#define X(name) bar.name = (*planes++)[at];
    PLANES(X)
#undef X
    bar.spot_gain = before ? bar.spot - before->spot : 0.0;
    bar.mark_gain = before ? bar.mark - before->next_mark : 0.0;
    bar.second_gain = before ? bar.second_mark - before->second_next_mark : 0.0;
    return bar;
}

inline Parameters parameters_of(const double* rows, long C, long lanes) {  // the last lanes of all repeat the first
    Parameters p;
#define X(name) \
    for (int k = 0; k < W; ++k) p.name[k] = rows[k < lanes ? k : 0]; \
    rows += C;
    PARAMETERS(X)
#undef X
    p.per_day = 1.0 / p.rebalance_days;
    return p;
}

}  // namespace

extern "C" {

#define X(name) #name " "
extern const char plane_names[], parameter_names[], cost_names[];
const char plane_names[] = PLANES(X), parameter_names[] = PARAMETERS(X), cost_names[] = COSTS(X);
#undef X

// C configurations on paths first .. last - 1 of S, T bars each. `edges` of the blocks begin with bar 0: what lies before
// the first block is run and not kept. planes (S, T) each, parameters (P, C), out (len(KEPT), n_blocks, S, C).
void run(long first, long last, long S, long T, long C, long n_blocks, const long* edges, const double* const* planes,
         const double* parameters, const double* prices, double* __restrict out) {
    Costs costs;
#define X(name) costs.name = *prices++;
    COSTS(X)
#undef X
    std::vector<Bar> bars(T);
    for (long s = first; s < last; ++s) {
        for (long t = 0; t < T; ++t) bars[t] = bar_of(planes, s * T + t, t > 0 ? &bars[t - 1] : nullptr);
        for (long c = 0; c < C; c += W) {
            const long lanes = C - c < W ? C - c : W;
            const Parameters p = parameters_of(parameters + c, C, lanes);
            Book book;
            for (long b = 0; b <= n_blocks; ++b) {
                Sums sums;
                for (long t = edges[b]; t < edges[b + 1]; ++t) step(bars[t], costs, p, book, sums);
                if (b == 0) continue;
                double* to = out + ((b - 1) * S + s) * C + c;
#define X(name) \
    for (long k = 0; k < lanes; ++k) to[k] = sums.name[k]; \
    to += n_blocks * S * C;
                KEPT(X)
#undef X
            }
        }
    }
}
}
