"""What the pipeline builds: a bill that is split in whole cents, and what its scripts write."""

from typing import Final

GOAL: Final = "Split a bill in whole cents, so that nothing is lost and the shares are fair."
MODULE: Final = "split.py"
TESTS: Final = "test_split.py"

TEST_CODE: Final = """\
import unittest

from split import split


class SplitTest(unittest.TestCase):
    def test_an_even_bill_gives_equal_shares(self):
        self.assertEqual(split(900, 3), [300, 300, 300])

    def test_no_cent_is_lost(self):
        self.assertEqual(sum(split(1000, 3)), 1000)

    def test_shares_differ_by_a_cent_at_most(self):
        shares = split(1001, 3)
        self.assertLessEqual(max(shares) - min(shares), 1)
"""

# It loses the cents that do not divide, and the tests find that.
FIRST_DRAFT: Final = '''\
def split(cents, people):
    """Return what each of the people pays."""
    return [cents // people] * people
'''

QUESTION: Final = "Who pays the cents that are left over?"

# The answers to the question, and the module that follows from each.
FIXES: Final = {
    "the first": '''\
def split(cents, people):
    """Return what each of the people pays; the first ones pay what is left over."""
    share, left_over = divmod(cents, people)
    return [share + 1] * left_over + [share] * (people - left_over)
''',
    "the last": '''\
def split(cents, people):
    """Return what each of the people pays; the last ones pay what is left over."""
    share, left_over = divmod(cents, people)
    return [share] * (people - left_over) + [share + 1] * left_over
''',
}
