const things =
  `person woman man child baby crowd dog puppy cat kitten bird parrot fish shark horse cow sheep pig
elephant lion bear zebra giraffe monkey snake frog butterfly spider bee tree flower rose grass leaf forest mountain
hill river lake waterfall beach sea wave desert sky cloud rain snow storm rainbow sunset night city street house
church castle bridge tower ruin kitchen bedroom bathroom office classroom shop restaurant stadium farm garden car
bus truck train tram bicycle motorcycle boat ship airplane helicopter rocket traffic-light apple banana orange
strawberry tomato potato carrot bread cheese pizza burger sushi salad soup cake chocolate coffee tea beer wine
table chair sofa lamp clock book newspaper letter phone laptop keyboard camera television guitar piano drum ball
shoe shirt dress hat glasses watch ring umbrella bag knife spoon bottle cup plate`
    .split(/\s+/)
    .map((thing) => thing.replace('-', ' '));

const looks = [
  'red',
  'dark blue',
  'tiny',
  'huge',
  'old',
  'broken',
  'wet',
  'empty',
  'blurry',
  'black and white',
];

const templates = ['{}', 'a photo of a {}', 'a drawing of a {}', '{} in the distance'] as const;

const sentences = `
people dancing at a wedding
two dogs playing with a ball on wet grass
a bowl of fresh fruit on a wooden table, seen from above
an aerial view of a city at night
a close-up of an eye
handwritten notes on paper
a screenshot of a computer program
a receipt from a supermarket
a diagram
a map of Europe
x-ray of a hand
the view through a rainy window
children in school uniforms crossing a street in front of a yellow bus while a policeman stops the traffic
not a cat
nothing
something soft
happiness
danger
1984
3 apples
50% off!
C++ source code
ein Hund im Schnee
une tasse de café
東京の夜景
собака
🐶
`
  .trim()
  .split('\n');

/** Labels as people write them: single words, phrases, sentences, other languages. All differ. */
export const probeTexts: readonly string[] = [
  ...things.map((thing, index) => templates[index % templates.length]!.replace('{}', thing)),
  ...things
    .filter((_, index) => index % 3 === 0)
    .map((thing, index) => `${looks[index % looks.length]} ${thing}`),
  ...sentences,
];
