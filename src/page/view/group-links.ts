import { create } from './dom.ts';
import { count, number } from './numbers.ts';
import type { GroupContent } from './photo-group.ts';

/** Links to the groups, with their sizes: an overview, and a way to the last of many. */
export interface GroupLinks {
  show(groups: readonly Pick<GroupContent, 'key' | 'heading' | 'photos'>[]): void;
}

export function createGroupLinks(nav: HTMLElement): GroupLinks {
  let shown = '';
  return {
    show(groups) {
      nav.hidden = groups.length < 2;
      const wanted = JSON.stringify(groups.map(({ key, heading, photos }) => [key, heading, photos.length]));
      if (wanted === shown) return;
      shown = wanted;
      nav.replaceChildren(
        ...groups.map(({ key, heading, photos }) =>
          create(
            'a',
            {
              attributes: {
                href: `#group-${key}`,
                'aria-label': `${heading}, ${count(photos.length, 'photo')}`,
              },
            },
            create('span', { text: heading }),
            create('span', { class: 'count', text: ` ${number(photos.length)}` }),
          ),
        ),
      );
    },
  };
}
