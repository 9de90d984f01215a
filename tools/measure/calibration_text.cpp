// A text for calibrating, written for this purpose: what counts is variety.
#include "tools/measure/calibrator.h"

namespace splitd::cli {

// clang-format off
const std::string_view kCalibrationText =
    R"text(The harbour woke before the town did. By five o'clock the first boats were back, low in the water, and the gulls had already begun their argument over who owned the sky. Marta set down her crates on the wet stones and counted them twice, because her brother had counted them once. "Eleven," she said. "You told me twelve." He shrugged and pointed at the cat, which was sitting on the wall with the expression of someone who has read the law and found nothing in it about herring.

A lighthouse is a machine for being looked at. Its lamp need not be strong: a lens of ground glass, built up in rings, bends the light of a small flame into a beam that can be seen for thirty kilometres. Augustin-Jean Fresnel worked out the shape in 1822, and within a few decades most of the coasts of Europe were marked by lenses of his design. The idea has since moved into traffic lights, car headlamps, solar furnaces and the flat magnifiers that people keep in their wallets.

How do you boil an egg at high altitude? Water boils when its vapour pressure equals the pressure of the air above it. At sea level that happens at 100 °C; in La Paz, some 3,640 m up, it happens at about 88 °C, so the same egg needs several minutes more. The rule of thumb is that the boiling point falls by one degree for every 300 metres climbed.

1. Put the eggs into a single layer in the pot.
2. Cover them with cold water, a finger's width above the shells.
3. Bring the water to the boil, then take the pot off the heat and put the lid on.
4. Wait: six minutes for a soft yolk, ten for a firm one. Add two minutes for every 1,000 m.
5. Cool them in a bowl of ice water so that they stop cooking.

def moving_average(values, width):
    """Mean of each run of `width` consecutive values."""
    if width <= 0:
        raise ValueError("width must be positive")
    total = sum(values[:width])
    result = [total / width]
    for old, new in zip(values, values[width:]):
        total += new - old
        result.append(total / width)
    return result

The function above keeps a running total, so its cost does not depend on the width of the window. For floating point numbers this has a price: rounding errors gather in the total. If that matters, recompute the sum from time to time, or use compensated summation, which carries the lost digits along in a second variable.

User: My train leaves at 14:35 and the trip to the station takes 25 minutes. When should I leave home?
Assistant: To be there exactly on time you would have to leave at 14:10. I suggest leaving at about 13:55, which gives you a quarter of an hour for delays and for finding the platform.
User: And if it rains?
Assistant: Then allow another five to ten minutes; traffic is usually slower, and so are people with umbrellas.

The committee met on Tuesday, 4 March, to consider the proposed budget for the coming year. Members noted that income from membership fees had risen by 6.2 percent, while the cost of energy had risen by nearly 18 percent over the same period. It was agreed, by nine votes to two, that the swimming hall would close one hour earlier on weekdays from October to March. Mrs. Okafor asked that the decision be reviewed in May. The treasurer was thanked for her work.

Plants do not have muscles, and yet they move. A sunflower bud follows the sun from east to west and swings back during the night; a mimosa folds its leaves within a second of being touched; the trap of a Venus flytrap snaps shut when two of its hairs are bent within about twenty seconds. Most of these movements are driven by water. Cells on one side of a joint pump out ions, water follows by osmosis, the cells go limp, and the joint bends. In other cases, growth itself is the motor: hormones called auxins gather on the shaded side of a stem, the cells there grow longer, and the tip turns towards the light.

Dear Mr. Lindqvist,
Thank you for your letter of 17 June. We are sorry to hear that the bicycle you ordered arrived with a bent wheel. A replacement was sent today and should reach you by Friday; there is no need to return the damaged one. Please accept the enclosed voucher with our apologies.
Yours sincerely,
Hannah Weiss, Customer Service

In mathematics, a prime number is a natural number greater than 1 that is not the product of two smaller natural numbers. There are infinitely many of them. Suppose there were only finitely many, p1, p2, ..., pn. Let N = p1 * p2 * ... * pn + 1. Dividing N by any of these primes leaves the remainder 1, so none of them divides N; but N > 1 has some prime divisor, which is therefore missing from the list. This contradiction, which Euclid gave in a slightly different form, proves the claim.

for (size_t i = 0; i + 1 < n; ++i) {
  if (compare(items[i], items[i + 1]) > 0) {
    std::swap(items[i], items[i + 1]);
    swapped = true;
  }
}

The old quarter is best seen on foot. Start at the clock tower, whose bells have played the same four notes since 1741, and follow the street of the coppersmiths down to the river. On market days the bridge is lined with stalls selling honey, dried peppers, second-hand books and, for reasons nobody remembers, a great many umbrellas. Prices are rarely written down; it is considered polite to offer two thirds of what is asked, and to be offered tea in return.

| planet  | distance (AU) | period (years) | moons |
|---------|---------------|----------------|-------|
| Mercury | 0.39          | 0.24           | 0     |
| Earth   | 1.00          | 1.00           | 1     |
| Jupiter | 5.20          | 11.86          | 95    |
| Saturn  | 9.58          | 29.46          | 146   |

Kepler's third law says that the square of the period is proportional to the cube of the distance. For Jupiter, 5.20 cubed is about 140.6, and the square root of that is 11.86, which agrees with the table.

)text"
    R"text(She did not answer at once. Outside, the snow had begun again, slow and heavy, and the lamps along the avenue wore yellow circles like saints in an old painting. "If I tell you the truth," she said finally, "you will think that I am making it up. And if I make something up, you will believe me. So which would you like?" He laughed, but he put down his cup.

The immune system has two arms. The innate one answers within minutes and always in the same way: barriers, inflammation, cells that swallow whatever carries the marks of a microbe. The adaptive one takes days, but it learns. Each B cell and each T cell carries a receptor of its own, put together at random from a few hundred pieces of DNA; those that happen to fit an invader multiply, and some of their descendants stay behind for decades as memory. Vaccination uses this memory: it shows the body what an enemy looks like without the enemy being there.

{"name": "sensor-12", "status": "ok", "readings": [21.4, 21.6, 21.9], "battery": 0.83, "tags": ["roof", "north"], "updated": "2024-11-02T08:15:00Z"}

Der Zug nach Hamburg hat heute etwa zehn Minuten Verspätung. Le musée est fermé le lundi, mais le jardin reste ouvert toute la semaine. El perro duerme bajo la mesa mientras la abuela prepara la sopa.

Why is the sky blue? Sunlight contains all colours. On its way through the air it meets molecules that are much smaller than its wavelength, and these scatter short waves far more strongly than long ones: the strength grows with the fourth power of the frequency. Blue light is therefore spread over the whole sky, while red light mostly goes straight on. At sunset the path through the air is so long that nearly all of the blue has been scattered away, and what is left is orange and red. Violet is scattered even more than blue, but the sun gives less of it, and our eyes are less sensitive to it.

To install the program, unpack the archive and run the following commands as an ordinary user:
    ./configure --prefix=$HOME/local
    make
    make install
If a library is missing, the first step says so and stops. Set the environment variable DEBUG=1 to see what it looks for. Report errors together with the file config.log, the name of your operating system and the version of your compiler.

The company said on Thursday that revenue for the third quarter had reached $2.1 billion, up 12% from a year earlier, and raised its forecast for the full year. Shares rose more than 4% in early trading before giving up most of the gain. Analysts had expected revenue of about $1.98 billion. "Demand is stronger than we thought, but so are our costs," the chief executive told investors.

It was the year in which the bridge was finished, the mill burned down, and my grandfather decided to learn the violin. He was sixty-eight. He had large, slow hands that were used to ropes, and for the first months the sounds that came out of the shed made the dog leave the village. But he went on, every evening from seven to eight, and in the third winter he played a whole song through without stopping, and my grandmother, who had not said a word about it in three years, put down her knitting and said: "Again."


)text";
// clang-format on

}  // namespace splitd::cli
