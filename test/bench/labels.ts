const adjectives =
  'red blue green yellow small large old new broken wooden empty bright dark wet clean dirty striped round heavy golden toy painted sleeping running modern';
const nouns =
  'cat dog horse bird fish tree flower mountain beach river house bridge car bicycle train airplane boat chair table lamp book bottle cup plate knife shoe hat shirt clock phone computer camera guitar piano ball apple banana bread cake pizza';

/** A thousand different labels as people write them: three words. */
export const thousandLabels: readonly string[] = adjectives
  .split(' ')
  .flatMap((adjective) => nouns.split(' ').map((noun) => `a ${adjective} ${noun}`));
