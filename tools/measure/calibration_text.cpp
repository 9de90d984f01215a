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

)text"
    R"text(A river is older than the valley it runs in. At first it takes whatever way the ground allows; later the ground has no choice. Each flood moves a little gravel, each winter splits a little rock, and what is carried off in a year would hardly fill a barn. But a river has a great many years. The canyon that visitors photograph today, more than a kilometre deep, was cut at about the speed at which a fingernail grows thin.

Question: What is the difference between weather and climate?
Answer: Weather is what happens in the air at a particular time and place: rain this afternoon, a storm on Sunday. Climate is the statistics of weather over decades: how warm Julys usually are, how often it snows before Christmas, how hard it rains once in a hundred years. A single cold winter says little about the climate, just as one throw of a die says little about whether the die is fair.

Once upon a time there was a miller who had three daughters and only one good coat. In summer nobody minded. In winter, whoever had to go to the village wore the coat, and the other two stayed by the fire and told each other what they would do there if it were their turn. The youngest, whose name was Ilse, always said the same thing: "I would look at the clock." For there was a clock on the town hall with a golden ship that sailed across its face every hour, and she had seen it only once.

```python
import csv
from collections import defaultdict

class Ledger:
    def __init__(self, path):
        self.path = path
        self.totals = defaultdict(float)

    def load(self):
        with open(self.path, newline="") as handle:
            for row in csv.DictReader(handle):
                self.totals[row["account"]] += float(row["amount"])
        return self

    def largest(self, count=5):
        ordered = sorted(self.totals.items(), key=lambda item: -abs(item[1]))
        return ordered[:count]

if __name__ == "__main__":
    for account, amount in Ledger("entries.csv").load().largest():
        print(f"{account:<20} {amount:>12.2f}")
```

The class reads a file of entries and adds up the amounts of each account. If a line has no amount, float() raises a ValueError, which is what we want here: it is better to stop than to report a sum that leaves something out.

Section 4. Termination. Either party may terminate this Agreement by giving the other party not less than thirty (30) days' written notice. Upon termination, the Licensee shall cease all use of the Materials and shall, at the option of the Licensor, return or destroy all copies thereof. Sections 2, 5 and 7 shall survive any termination of this Agreement. Nothing in this Section limits any right or remedy that either party may have under applicable law.

Symptoms usually appear two to five days after infection and include fever, a dry cough, headache and muscle pain. Most people recover within a week without treatment. Patients over 65, young children, pregnant women and people with chronic diseases of the heart or lungs are at higher risk and should see a doctor early. Antibiotics do not help, since the illness is caused by a virus; rest, fluids and, if needed, paracetamol to bring down the fever are recommended.

"You can't park there," said the boy.
"It's only for five minutes."
"That's what the last man said." He pointed down the harbour wall. At the bottom, under three metres of clear green water, stood a small red car with its doors closed and its lights still on.

Ingredients (serves four): 400 g of flour, 1 teaspoon of salt, 7 g of dried yeast, 250 ml of lukewarm water, 2 tablespoons of olive oil. Mix the flour with the salt, dissolve the yeast in the water, and pour both together with the oil into a bowl. Knead for ten minutes, until the dough is smooth and no longer sticks to your hands. Cover it with a damp cloth and let it rise for an hour in a warm place. Roll it out thinly, top it with what you like, and bake it at 250 °C for eight to ten minutes.

SELECT c.name, COUNT(o.id) AS orders, SUM(o.total) AS revenue
FROM customers AS c
LEFT JOIN orders AS o ON o.customer_id = c.id AND o.created_at >= '2023-01-01'
GROUP BY c.name
HAVING COUNT(o.id) > 3
ORDER BY revenue DESC
LIMIT 10;

In 1687 Isaac Newton published a book in which the fall of an apple and the path of the Moon followed from one law: every body attracts every other with a force proportional to both masses and inversely proportional to the square of the distance between them. The constant in that law was too small to be measured in his lifetime. Henry Cavendish found it in 1798 with two lead balls, a thin wire and a great deal of patience; his result was within one percent of the value used today.

[2024-05-17 09:12:44] INFO  server started on port 8080 with 4 workers
[2024-05-17 09:12:51] INFO  GET /index.html 200 14ms
[2024-05-17 09:13:02] WARN  slow query (812 ms): users by last login
[2024-05-17 09:13:02] ERROR could not connect to cache at 10.0.0.12:6379: connection refused
[2024-05-17 09:13:03] INFO  retrying in 2 s (attempt 1 of 5)

The orchestra tuned, the lights went down, and for a moment two thousand people held their breath together. Then a single clarinet began, so softly that those in the last rows were not sure whether they heard it or remembered it. The reviewer of the morning paper, who had come late and was standing behind a column, wrote afterwards that it had been the best performance of the season, and that he had seen nothing of it.

)text"
    R"text(Photosynthesis takes place in two stages. In the first, light is absorbed by chlorophyll in the membranes of the thylakoids; its energy splits water, sets oxygen free, and is stored in ATP and NADPH. In the second, known as the Calvin cycle, the enzyme RuBisCO attaches carbon dioxide to a sugar with five carbon atoms, and the energy of the first stage turns the products into glucose. About a third of what is made in this way the plant uses up again for its own respiration.

Hello Priya,
I looked at the draft on the train this morning and like it a lot, above all the second chapter. Three small things: (1) the figure on page 9 has no units on its vertical axis; (2) you say "significant" in several places where I think you mean "large"; (3) the last table could go into the appendix. Shall we talk on Thursday, say at half past two? I am out of the office on Friday.
Best, Tom

Die Geschichte der Stadt beginnt mit einer Brücke. Wer von Süden nach Norden reisen wollte, musste hier über den Fluss, und wer über den Fluss wollte, musste zahlen. Aus dem Zollhaus wurde ein Markt, aus dem Markt eine Stadt. Im Jahr 1348 zählte sie etwa viertausend Einwohner; zwei Jahre später waren es noch die Hälfte.

Il était une fois, dans un petit village au bord de la mer, un pêcheur qui ne savait pas nager. Chaque matin, il regardait le ciel, puis l'horizon, et chaque matin sa femme lui demandait s'il ne voulait pas apprendre enfin. « Demain », répondait-il, « quand l'eau sera plus chaude. »

La energía solar ha bajado de precio más de un ochenta por ciento en la última década. En muchos países es ya la forma más barata de producir electricidad durante el día, pero todavía falta resolver cómo guardarla para la noche: las baterías siguen siendo caras y la red no siempre está preparada.

A hash table stores pairs of keys and values in an array. A function turns each key into a number, and that number, taken modulo the length of the array, says where the pair belongs. If two keys fall into the same place there is a collision, for which there are two common remedies: every place holds a list of pairs, or the search goes on to the next free place. As long as the table is at most about seventy percent full, a search takes a small, constant number of steps on average; when it becomes fuller, a new array of twice the length is made and everything is moved.

#include <stdio.h>
#include <stdlib.h>

/* Reads numbers from standard input and prints their median. */
static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    double *values = NULL;
    size_t count = 0, capacity = 0;
    double value;
    while (scanf("%lf", &value) == 1) {
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            values = realloc(values, capacity * sizeof *values);
            if (!values) return 1;
        }
        values[count++] = value;
    }
    if (count == 0) return 1;
    qsort(values, count, sizeof *values, compare);
    printf("%g\n", count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2);
    free(values);
    return 0;
}

The final ended 3–2 after extra time. The visitors took the lead after only eleven minutes, when a long throw found its way through a crowd of defenders, and doubled it shortly before half-time from the penalty spot. Few in the stadium would have given much for the home team then. But two goals within four minutes turned the match around, and in the 117th minute the substitute, nineteen years old and playing his third game, hit the ball from twenty-five metres into the upper corner.

User: Can you explain recursion to a ten-year-old?
Assistant: Imagine you are standing in a long queue and want to know your position. You could walk to the front and count. Or you ask the person before you, "What is your number?" They don't know either, so they ask the person before them, and so on, until the question reaches the first person, who says: "One!" Then the answer comes back: two, three, four, and when it reaches you, you add one and know your place. Recursion means solving a problem by asking a smaller copy of the same question, until it is so small that the answer is obvious.
User: What happens if nobody is at the front?
Assistant: Then the question would be passed on forever. That is why every recursion needs a case that is answered directly.

Mean annual temperature (°C) and precipitation (mm) of four stations:
Bergen      8.6   2495
Madrid     15.0    421
Nairobi    18.8   1050
Yakutsk    -7.5    238
The driest of the four is thus also the coldest, which is no accident: cold air holds little water.

Economists distinguish between a movement along the demand curve and a shift of the curve itself. When the price of coffee rises because of a frost in Brazil, people buy less coffee: that is a movement along the curve. When a study reports that coffee is good for the heart, people want more of it at every price: the curve shifts. Confusing the two leads to the puzzling conclusion that higher prices cause people to buy more.

Old Mr. Hardcastle had not spoken to his neighbour for eleven years. Nobody knew exactly why. Some said it was about a hedge, others that it had been a matter of a borrowed ladder, and the postman, who knew more than most, only raised his eyebrows. So when smoke was seen one evening over the neighbour's roof, the whole street watched to see what he would do. He came out of his door in slippers, looked up, went in again, and came back with the ladder.

)text"
    R"text(To whom it may concern: Ms. Adeyemi worked in our laboratory from September 2019 to March 2022, first as an assistant and from 2020 on as head of the microscopy group. She planned and carried out the move of all instruments to the new building without losing a single day of measurements. Her reports were clear, short and on time. We regret her decision to leave and recommend her without reservation.

Theorem. The square root of 2 is irrational. Proof. Suppose that sqrt(2) = p/q with integers p and q that have no common factor. Then p^2 = 2 q^2, so p^2 is even, and therefore p is even, say p = 2r. It follows that 4 r^2 = 2 q^2, or q^2 = 2 r^2, so q is even as well. But then 2 divides both p and q, contrary to the assumption.

<html>
  <head><title>Opening hours</title></head>
  <body>
    <h1>Opening hours</h1>
    <ul>
      <li>Monday to Friday: 9 am to 6 pm</li>
      <li>Saturday: 10 am to 2 pm</li>
      <li>Sundays and public holidays: closed</li>
    </ul>
    <p>For appointments call <a href="tel:+15550137">555-0137</a>.</p>
  </body>
</html>

Tides are caused mainly by the Moon. Its pull is stronger on the side of the Earth that faces it than at the centre, and weaker on the far side, so that the water of the oceans is stretched along the line between the two bodies. As the Earth turns, each coast passes two bulges a day. When Sun and Moon stand in one line, at new and full moon, their effects add up to spring tides; at the quarters they work against each other, and the difference between high and low water is small.

I have been asked many times why I left a good position in the city for a farm that loses money in two years out of three. The answer I give at dinners is the view. The true one is that I was tired of being right about things that did not matter. A goat does not care who is right. A goat wants to be milked at six, and if you come at half past six it will look at you in a way that no manager of mine ever managed.

Warning: disconnect the power supply before opening the cover. Remove the four screws at the back (A) and lift the cover off towards the front (B). Pull the ribbon cable out of its socket by the blue tab; never pull at the cable itself. Put in the new module with the notch to the left and press until both latches click. If the red lamp goes on flashing after the restart, check the position of switch S2.

The word "robot" comes from a Czech play of 1920, in which artificial workers are made in a factory and end by taking over the world; robota means forced labour. The robots of the play are not machines of metal but beings of flesh, put together like cars. It was only later that the word came to mean what it does today, and the arms that weld car bodies in long rows would probably have disappointed the author.

const debounce = (callback, delay) => {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => callback(...args), delay);
  };
};

window.addEventListener("resize", debounce(() => console.log(window.innerWidth), 200));

Without the helper, the handler would run dozens of times while a window is dragged. With it, it runs once, 200 milliseconds after the last event.

Over the past twenty years the share of people who live in cities has grown from 47 to 57 percent. Most of this growth happened in Asia and Africa, and most of it in cities of fewer than one million inhabitants, about which the least is known. Planners speak of a second wave: the first built the megacities, the second will decide whether there is water in their suburbs.

Night shift. The corridor smells of floor polish and coffee. In room 12 the old captain is awake again; he wants to know where the ship is. "Two days from Valparaíso," says the nurse, who has never been further than the next town. He nods, satisfied, and asks about the wind. "South-west," she says, and draws up his blanket. "Four, perhaps five." At six, when the day shift comes, he is asleep, and she writes into the book: quiet night, fair weather.

How many times does the letter r occur in "strawberry"? Spelling it out: s-t-r-a-w-b-e-r-r-y. The letter r stands at positions 3, 8 and 9, so it occurs three times.

If a train covers 240 km in 2.5 hours, its average speed is 240 / 2.5 = 96 km/h. At the same speed it needs 400 / 96 = 4.17 hours, that is 4 hours and 10 minutes, for 400 km. If it stops on the way for 15 minutes, it arrives after 4 hours and 25 minutes.

The history of paper begins in China about two thousand years ago. Bark, rags and old fishing nets were beaten to a pulp, scooped up with a screen, pressed and dried. The craft reached Samarkand in the eighth century, Baghdad a generation later, Spain in the twelfth century and Germany in 1390. For most of this time paper was made of rags, and there were never enough of them; it was only after 1840, when wood could be ground to pulp, that newspapers became cheap enough to be thrown away.

Subject: Re: build fails on the new machine
> After the update I get "undefined reference to `pthread_create'".
That usually means that the threads library is not passed to the linker. Add -pthread to both the compiler and the linker flags (not only -lpthread), remove the build directory and start again. If you use CMake: find_package(Threads REQUIRED), then target_link_libraries(app PRIVATE Threads::Threads).
> It works, thank you! Should I report this as a bug?
Yes, please, with the version of the compiler.

Honey never spoils, or so it is said. Its sugar binds the water so firmly that bacteria and moulds find nothing to drink, and an enzyme from the bees' stomachs makes small amounts of hydrogen peroxide. Jars from Egyptian tombs are reported to have been still edible. But honey that takes up moisture from the air will ferment, and what comes of that has its friends, too: it is called mead, and is perhaps the oldest of all alcoholic drinks.

name: weekly report
on:
  schedule:
    - cron: "30 6 * * 1"
jobs:
  report:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - name: Count open issues
        run: ./scripts/count.sh --state open > report.txt

The judge leaned back. "Let us go through this once more. You found the painting in the cellar, you did not know what it was worth, and you sold it to a stranger for forty euros." "Forty-five," said the defendant. "He gave me five more for the frame." There was laughter in the back of the room, and the judge waited until it had died away. "And the stranger," she said, "was by chance your brother-in-law."

Sound travels through air at about 343 m/s, through water at 1,480 m/s and through steel at nearly 6,000 m/s. The stiffer a material, the faster its parts hand on a push; the denser, the slower. That is why one can hear a train in the rails long before it can be heard in the air, and why thunder follows lightning by about three seconds for each kilometre of distance.

Mixed feelings about this vacuum cleaner. It is light, it is quiet, and the battery really does last for forty minutes. But the dust box is tiny, the brush collects hair like a hobby, and after three months the wall mount came off with half of the plaster. Customer service was friendly and sent a new mount. Three stars out of five; I would buy it again at a lower price.

The soldiers had been told that the village was empty. It was not: on the bench in front of the church sat a woman with a basket of plums, and she went on sorting them, the ripe to the left, the others to the right, while forty men walked past her in silence. The last of them, who was perhaps twenty, stopped. "Grandmother, you must leave." She held out a plum. "Take one," she said. "They won't be better tomorrow."

)text"
    R"text(Variables that are set inside a function are local to it unless they are declared otherwise. When the function returns, their storage is released, and any reference to them becomes invalid. A function that needs to keep a value between calls can store it in an object that the caller passes in, or, in languages that allow it, in a closure: a function together with the variables that were in scope where it was written. Closures are often used for callbacks, since they carry their state along and need no extra argument for it.

Use the `find` command to list files that match a condition. The following example prints all files below the current directory that were changed within the last two days and are larger than one megabyte:

    find . -type f -mtime -2 -size +1M -print

The conditions are evaluated from left to right, and the search goes on to the next file as soon as one of them is false. To run a command on each file instead of printing its name, replace `-print` with `-exec`, followed by the command; a pair of braces stands for the name of the file.

Memory that a program asks for is not always there when it gets an address. Most operating systems hand out pages only when they are first touched, so a program may reserve far more than the machine has. This works well as long as most of it is never used. When it is, the system has to choose between writing pages to disk, refusing the next request, and ending some process, and none of these is pleasant. Libraries that allocate large buffers should therefore say so in their documentation and let the caller decide how large they may become.

Threads of one process share its memory, which makes it cheap to pass data from one to another and easy to do so wrongly. If one thread writes to a variable while another reads it, and nothing orders the two, the result is undefined: the reader may see the old value, the new one, or on some machines a mixture of both. A mutex makes sure that only one thread at a time runs the code it protects. Holding two of them at once needs care, since two threads that take them in opposite order can wait for each other forever. Where possible, prefer message passing: one thread owns the data, and the others ask for what they need.

The option takes one of three values. With `strict`, any unknown key in the configuration file is an error; with `warn`, which is the default, a message is printed and the key is ignored; with `off`, unknown keys are ignored silently. We recommend `strict` for automated deployments, because a misspelled key would otherwise go unnoticed until somebody wonders why a setting has no effect.

)text";
// clang-format on

}  // namespace splitd::cli
