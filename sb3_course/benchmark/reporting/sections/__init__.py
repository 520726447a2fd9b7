"""The sections of a report; the templates of its page and README only lay them out.

=============  ===========================================================================
module         contents
=============  ===========================================================================
``contents``   all sections in their order
``overview``   the answer: learning curves, aggregates and questions
``detail``     everything that the answer rests on
``making``     what is missing, and how the runs were made
``selection``  which algorithms and environments a figure shows
=============  ===========================================================================
"""
