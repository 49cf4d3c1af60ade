"""What a Bento says of itself, beside what runs: licences, bill of materials, digests.

To add something: a module that writes its file, called by `description.complete_bento` before the
manifest, which has the digests of all of them.
"""
